"""Runs as others see them."""
