"""The stages of a run on a Ray cluster: only they import ray, and `tasks.engine` loads them."""
