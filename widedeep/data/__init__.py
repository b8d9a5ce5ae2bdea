"""Rating files in KMRD's form: where they come from, what is in them, what is wrong with them."""
