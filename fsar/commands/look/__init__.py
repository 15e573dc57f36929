"""Look: name clips, compare runs, put a run on a page, draw and check alignments."""
