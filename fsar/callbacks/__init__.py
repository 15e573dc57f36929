"""What goes along with a training: checkpoints to go on from, the progress bar, pictures for the loggers."""
