"""How good a model is on rows it never saw, and whether that is enough to promote it."""
