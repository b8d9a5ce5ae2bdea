"""Seconds after which a task is taken to hang, and ended as failed.

Far above what five million ratings need; nothing is meant to come near them.
"""

STAGE = 2 * 3600.0
TRAINING = 24 * 3600.0
