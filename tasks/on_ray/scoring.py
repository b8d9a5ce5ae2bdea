"""Scores on the cluster: a piece of time is described and scored where there is room."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from tasks.on_ray.features import OnRay
from widedeep.data.ratings import RatingLog
from widedeep.evaluation.scoring import Scorer
from widedeep.features.catalogue import Catalogue
from widedeep.features.history import Queries
from widedeep.features.raw_columns import RawColumns
from widedeep.model.trained_model import TrainedModel
from widedeep.model.training import predict


def ray_scorer(model: TrainedModel, log: RatingLog, catalogue: Catalogue, pieces: int) -> Scorer:
    """As `model_scorer`; probabilities differ by what the size of a batch does to floats."""
    spec, prior = model.transform.spec, model.transform.prior
    engine = OnRay(log, catalogue, spec, prior, pieces)

    def score(asked: Queries) -> NDArray[np.float64]:
        return engine.describe(asked).gathered(partial(_predict, model))

    return score


def _predict(model: TrainedModel, rows: RawColumns) -> NDArray[np.float64]:
    return predict(model.network, model.transform.encode(rows))
