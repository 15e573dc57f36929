"""Data: look through clips and benchmarks, prepare and encode them, write down episodes."""
