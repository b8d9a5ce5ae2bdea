"""What an address of MLflow's UI has to say."""

TRAINING_VIEW = "workflowType=machine_learning"
"""Without it runs are shown as if they were conversations."""
