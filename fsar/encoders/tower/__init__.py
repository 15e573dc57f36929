"""Inside of a tower, of images or of texts: blocks and halves, what it makes on its way, attention, contexts."""
