"""How sparse L1 keeps the wide part, as a curve over L1."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from widedeep.model.trained_model import TrainedModel

MULTIPLES = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
"""Of the present L1, or of 1 where there is none."""


def sparsity_curve(model: TrainedModel, l1: NDArray[np.float64] | None = None) -> pd.DataFrame:
    """Count, for each value of L1, the weights whose |z| exceeds it.

    FTRL's weight is 0 where |z| does not exceed L1, so this is what another L1 would keep of this
    very state (z, n). It is not what a model trained with that L1 would have: a penalty changes the
    gradients to come, and so z itself.

    Args:
        model: Trained with FTRL on its wide part.
        l1: Values to try, (n,); by default `MULTIPLES` of the present one. It is always among them.

    Returns:
        Columns `l1` (float64, ascending), `nonzero` (int64 count of weights) and `present` (bool,
        whether it is the model's own L1).
    """
    present = model.training.ftrl.l1
    tried = np.array(MULTIPLES) * (present or 1.0) if l1 is None else l1
    values = np.unique(np.append(tried, present))
    sizes = np.sort(np.abs(model.state["wide/z"].cpu().numpy().ravel()))
    # Compared as FTRL compares them, float32 against L1 rounded to float32.
    kept = len(sizes) - np.searchsorted(sizes, values.astype(sizes.dtype), side="right")
    return pd.DataFrame({"l1": values, "nonzero": kept, "present": values == present})
