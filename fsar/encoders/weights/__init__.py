"""Weight files: names of architectures, reading, renaming, strict loading; what can be had, and by which short name."""
