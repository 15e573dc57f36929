"""Encoders that see a clip as a whole: networks of torchvision and transformers, and what they make of its frames."""
