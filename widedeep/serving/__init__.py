"""Serve a registered model: rank and recommend items for users, and learn from their feedback."""
