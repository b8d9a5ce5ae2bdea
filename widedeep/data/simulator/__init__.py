"""Simulated ratings in KMRD's form with a known truth, to judge a pipeline by."""
