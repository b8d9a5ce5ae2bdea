"""History: what was known of users and items at a moment, as numbers and remembered items."""
