"""Share: pack a run for others."""
