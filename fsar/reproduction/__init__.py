"""A published table again: which recipe belongs to a number, what it costs, the runs, ours beside the published."""
