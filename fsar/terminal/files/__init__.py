"""Configuration files: those that ship, those of others and their bounds, and what one leaves behind for the next."""
