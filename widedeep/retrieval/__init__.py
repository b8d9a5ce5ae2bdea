"""Retrieval: choose a short list of candidates for a user out of all items."""
