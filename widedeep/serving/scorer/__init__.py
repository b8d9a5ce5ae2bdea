"""The fast scorer: a model's logits for requests, without running the network on every pair.

`FastScorer` takes a trained model apart by what its inputs depend on. What only the item decides is
added up when the model is loaded, what only the user and the request decide once a request, and
only the rest for each candidate. It is the one door: `wide` and `deep` are the two parts of the
model, `features` what is encoded ahead, `kernels` the compiled loops. Its promise, the scores of
the model itself within `FastScorer.tolerance`, is kept by tests/serving/test_scorer.py.
"""

from widedeep.serving.scorer.fast_scorer import FastScorer
from widedeep.serving.scorer.features import known_ids

__all__ = ["FastScorer", "known_ids"]
