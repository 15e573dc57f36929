"""Weight files: names of architectures, reading, renaming, strict loading, and what can be had."""
