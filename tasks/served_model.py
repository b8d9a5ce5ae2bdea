"""The registered model as MLflow loads it: a table of users and items in, probabilities out.

The model carries the interactions known when it was registered, so it answers as a nightly batch
would (the frozen protocol). MLflow copies this file into the model and executes it there (models
from code); nothing in this project imports it.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray


def _reuse_compiled(carried: Path) -> None:
    """Import the installed library if it is, byte for byte, the code carried in a folder.

    numba caches compiled functions beside their source: a new copy takes some 15 s to compile.
    """
    if "widedeep" in sys.modules or str(carried) not in sys.path:
        return
    position = sys.path.index(str(carried))
    del sys.path[position]
    try:
        installed = Path(str(importlib.import_module("widedeep").__file__)).parent
    except ModuleNotFoundError:
        installed = None
    if installed is None or _sources(installed) != _sources(carried / "widedeep"):
        sys.modules.pop("widedeep", None)
        sys.path.insert(position, str(carried))


def _sources(folder: Path) -> dict[Path, bytes]:
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.py")}


_reuse_compiled(Path(__file__).parent / "code")

from widedeep.data.ids import composed, id_keys  # noqa: E402
from widedeep.data.tables import Categories, Context, ContextColumn  # noqa: E402
from widedeep.data.values import parse_numbers  # noqa: E402
from widedeep.evaluation.scoring import model_scorer  # noqa: E402
from widedeep.evaluation.snapshot import DataSnapshot  # noqa: E402
from widedeep.features.attributes import FeatureTables  # noqa: E402
from widedeep.features.history import Queries  # noqa: E402
from widedeep.features.request import as_category  # noqa: E402
from widedeep.model.trained_model import TrainedModel  # noqa: E402


class ServedModel(PythonModel):
    """An MLflow model: columns `user`, `item` and optionally others → `probability`.

    The others are `time` (UNIX seconds) and the context features that the data declare; a user's
    own features are those that were known when the model was registered.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model, and the interactions and items it was registered with."""
        model = TrainedModel.load(Path(context.artifacts["model"]))
        snapshot = DataSnapshot.load(Path(context.artifacts["history"]))
        self._tables = snapshot.tables
        self._known_until = int(snapshot.interactions.time[-1]) + 1
        self._score = model_scorer(model, snapshot.interactions, snapshot.tables)

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002  MLflow passes it
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002  likewise
    ) -> pd.DataFrame:
        """Return P(positive) of each row; unknown ids are scored as new users and new items."""
        user, item = (_keys(model_input[name]) for name in ("user", "item"))
        time = np.full(len(user), self._known_until)
        if "time" in model_input:
            time = model_input["time"].to_numpy(np.int64)
        known_until = np.minimum(time, self._known_until)
        queries = Queries(user, item, time, known_until, _context(model_input, self._tables))
        return pd.DataFrame({"probability": self._score(queries)})


def _keys(column: "pd.Series[Any]") -> NDArray[np.int64]:
    """Return the keys of ids, integers or text, (n,)."""
    return id_keys(composed(pa.chunked_array([pa.array(column.astype(str), pa.string())])))


def _context(rows: pd.DataFrame, tables: FeatureTables) -> Context:
    """Return the context features that the rows state; the others are missing."""
    columns: dict[str, ContextColumn] = {}
    for name in tables.context:
        if name in rows:
            values = [None if pd.isna(v) else as_category(v) for v in rows[name].tolist()]
            texts = pa.chunked_array([pa.array(values, pa.string())])
            categorical = name in tables.context_categories
            columns[name] = (
                Categories.from_texts(composed(texts)) if categorical else parse_numbers(texts)
            )
    return columns


set_model(ServedModel())
