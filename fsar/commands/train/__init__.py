"""Train and test: fit, validate, test, sweep, baselines, train-supervised, configs, demo."""
