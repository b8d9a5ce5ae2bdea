"""Named checks of a folder of data, each with a count and examples."""
