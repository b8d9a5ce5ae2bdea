"""The metrics that people are shown, in the order in which they read them."""

HEADLINES = (
    ("streaming", "auc", "streaming AUC"),
    ("streaming", "log_loss", "streaming log loss"),
    ("streaming", "ece", "streaming ECE"),
    ("frozen", "auc", "frozen AUC"),
    ("frozen", "log_loss", "frozen log loss"),
    ("frozen", "gauc", "frozen GAUC"),
    ("frozen", "ndcg_at_10", "frozen NDCG@10"),
)
"""(protocol, metric, title); ECE is the expected calibration error."""
