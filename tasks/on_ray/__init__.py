"""The stages of a run on a Ray cluster: the only code that imports ray, loaded by `tasks.engine`."""
