"""Wide & Deep learning for recommender systems (Cheng et al. 2016, arXiv:1606.07792).

The library knows neither the orchestrator nor the tracker: plain functions from files to files.
Its wings stand on one another in one direction: evaluation → model → features → data.
"""
