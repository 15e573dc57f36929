"""Measure: a method over ways, shots, encoders, splits; many methods on the same episodes; published tables again."""
