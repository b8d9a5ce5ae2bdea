"""What the columns of unknown files look like, and what they most likely mean."""
