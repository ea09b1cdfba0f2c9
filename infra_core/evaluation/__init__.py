"""How well a model answers, how likely it finds reference answers, and how sure we are of a difference."""
