"""Simulated data in KMRD's form or a declared one, with a known truth to judge a pipeline by."""
