"""Further evaluations of a trained encoder: ``fedssl probe``."""
