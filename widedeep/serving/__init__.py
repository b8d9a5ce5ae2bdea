"""Serving: from a user to a ranked list, and from a rating back into what is known."""
