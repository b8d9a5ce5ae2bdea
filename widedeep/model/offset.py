"""How far the offset is to be trusted: a logistic regression on it alone."""

import torch
from sklearn.linear_model import LogisticRegression

from widedeep.features.examples import Examples
from widedeep.model.network import WideDeep

_WEAK = 1e6
"""Inverse strength of the penalty: enough of one to stay finite where the offset tells all."""


@torch.no_grad()
def begin_from_offset(network: WideDeep, training: Examples) -> None:
    """Set slope and bias of a new network to the best fit of the offset alone to the labels.

    The online model's steps suit some data better than others: where users differ little, it runs
    after noise and is overconfident. Without an offset nothing changes.
    """
    offset = training.rows.offset
    if (offset == offset[:1]).all():
        return
    fitted = LogisticRegression(C=_WEAK).fit(offset[:, None], training.label, training.weight)
    network.slope.fill_(fitted.coef_.item())
    network.bias.fill_(fitted.intercept_.item())
