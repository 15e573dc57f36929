"""Train and test: fit, validate, test, train-supervised, post-train, demo, configs."""
