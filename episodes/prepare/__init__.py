"""Turn videos into what trains fast: all-intra H.264, folders of JPEGs, or a packed store of uint8 frames."""
