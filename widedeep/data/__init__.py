"""Files of interactions, items and users: where they come from, what they mean, what is wrong."""
