"""How files are read: their first line, and many small files at once."""
