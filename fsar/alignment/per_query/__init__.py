"""Metrics that look at the shots of a class anew for every query: frames, tuples of frames, pattern tokens."""
