"""How good a model is on rows it never saw, and whether that is enough to promote it."""

MEMORISATION_TABLE = "memorisation.parquet"
MEMORISATION_REPORT = "memorisation.md"
"""Files that a retrain leaves with its run in MLflow; named here so that reading them needs no
torch."""
