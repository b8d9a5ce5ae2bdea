"""A version is tried before anybody is answered by it."""

import numpy as np

from widedeep.evaluation.golden import GOLDEN, NOBODY, GoldenRequests
from widedeep.features.companion import Companion
from widedeep.model.precision import Precision
from widedeep.model.trained_model import TrainedModel
from widedeep.serving.ranker import Ranker
from widedeep.serving.served_version import ServedVersion


def try_out(version: ServedVersion, precision: Precision) -> str | None:
    """What is wrong with a version, for people; None if all is well.

    It is loaded as a server loads it, and asked what it was registered with the answers to: pairs
    with strangers among them. In float32 they must be the same whatever a server computes in; in
    its own precision as near as that allows. What cannot be loaded or asked is wrong, too.
    """
    try:
        companion = Companion.load(version.history)
        golden = GoldenRequests.load(version.history / GOLDEN)
        model = TrainedModel.load(version.served)
        exact = Ranker.of(model, companion.log, companion.catalogue, Precision.FLOAT32)
        served = Ranker.on(exact.state, model, companion.catalogue, precision)
        return _differs(exact, golden) or _differs(served, golden) or _fails_strangers(served)
    except Exception as error:  # noqa: BLE001  a model from elsewhere may fail in any way
        return f"it cannot be loaded and asked: {type(error).__name__}: {error}"


def _differs(ranker: Ranker, golden: GoldenRequests) -> str | None:
    given = np.concatenate(
        [
            ranker.scores(user, np.array([movie]), time)
            for user, movie, time in zip(
                golden.user.tolist(), golden.movie.tolist(), golden.time.tolist(), strict=True
            )
        ]
    )
    apart = float(np.abs(given - golden.probability).max())
    if not apart <= ranker.tolerance:
        return f"answers in {ranker.precision} differ by up to {apart:.2g} from those in training"
    return None


def _fails_strangers(ranker: Ranker) -> str | None:
    movies = np.append(ranker.movies[:100], NOBODY)
    scores = ranker.scores(NOBODY, movies, ranker.known_until)
    sound = np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()
    return None if sound else "a stranger's scores are no probabilities"
