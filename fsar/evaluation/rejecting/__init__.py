"""Learned ways to tell that a query is of none of the classes shown, for the open-set protocol."""
