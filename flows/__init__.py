"""The Prefect flows. Importing this package settles where Prefect and MLflow keep their state."""

from flows.environment import configure, default_home

configure(default_home())
