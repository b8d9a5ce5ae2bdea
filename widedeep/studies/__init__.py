"""Offline experiments: what each part of the model is worth, and what retraining is worth."""
