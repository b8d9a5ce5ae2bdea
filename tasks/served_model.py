"""The registered model as MLflow loads it (models from code): probabilities for user and item.

It carries the ratings known when it was made, so it answers as a nightly batch would (the frozen
protocol). MLflow executes this file; nothing of the project imports it.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from widedeep.data.tables import Interactions
from widedeep.evaluation.scoring import model_scorer
from widedeep.features.history import Queries
from widedeep.features.items import ItemTable
from widedeep.model.trained_model import TrainedModel


def _reuse_compiled(carried: Path) -> None:
    """Take the installed library if it is, byte for byte, the code that the model carries.

    numba keeps compiled functions beside their source: a new copy compiles for some 15 s.
    """
    if "widedeep" in sys.modules or str(carried) not in sys.path:
        return
    place = sys.path.index(str(carried))
    del sys.path[place]
    try:
        installed = Path(str(importlib.import_module("widedeep").__file__)).parent
    except ModuleNotFoundError:
        installed = None
    if installed is None or _sources(installed) != _sources(carried / "widedeep"):
        sys.modules.pop("widedeep", None)
        sys.path.insert(place, str(carried))


def _sources(folder: Path) -> dict[Path, bytes]:
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.py")}


_reuse_compiled(Path(__file__).parent / "code")


class ServedModel(PythonModel):
    """Columns `user`, `item` and optionally `time` (UNIX seconds) → `probability`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model and the ratings beside it."""
        model = TrainedModel.load(Path(context.artifacts["model"]))
        history = Path(context.artifacts["history"])
        interactions = Interactions.load(history / "ratings.parquet")
        item_table = ItemTable.from_table(pq.read_table(history / "items.parquet"))
        self._known_until = int(interactions.time[-1]) + 1
        self._score = model_scorer(model, interactions, item_table)

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002  MLflow passes it
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002  likewise
    ) -> pd.DataFrame:
        """Score each row; an unknown user or item is a cold one."""
        user, item = (model_input[name].to_numpy(np.int64) for name in ("user", "item"))
        given = model_input.get("time")
        time = np.full(len(user), self._known_until) if given is None else given.to_numpy(np.int64)
        known = np.minimum(time, self._known_until)
        return pd.DataFrame({"probability": self._score(Queries(user, item, time, known))})


set_model(ServedModel())
