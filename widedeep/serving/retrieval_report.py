"""How much of what users go on to like retrieval finds, and what a model makes of the short lists.

frozen: the lists of the holdout's start. streaming: those just before each rating, the ones before
it observed (who likes what together stays as counted at the start).
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from widedeep.data.ratings import RatingLog
from widedeep.data.split import Split
from widedeep.errors import InputError
from widedeep.evaluation.scoring import Scorer
from widedeep.features.training_set import FROZEN, STREAMING
from widedeep.serving.retrieval import Retrieval
from widedeep.serving.retrieval_chain import Chain, Rated, chains
from widedeep.serving.retrieval_recall import Hits, Recall

Retriever = Callable[[RatingLog], Retrieval]
"""Makes a retrieval that knows the ratings given to it and no others."""


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """`positives` of the holdout, and `known` ones: of users who had liked something before.

    The latter by protocol. `chain_known` is the chain for users with a rating before the holdout.
    """

    positives: int
    known: Mapping[str, int]
    recalls: tuple[Recall, ...]
    chain: Chain | None = None
    chain_known: Chain | None = None
    rated: Rated | None = None

    @classmethod
    def of(
        cls, retriever: Retriever, log: RatingLog, split: Split, scorer: Scorer | None = None
    ) -> Self:
        """Judge by the holdout's positives; without a scorer there is no chain.

        A fair scorer is of a model that has not learned from the holdout.

        Raises:
            InputError: The holdout has no positive.
        """
        start = retriever(log.take(log.time < split.holdout_from))
        held = log.take(split.holdout(log.time))
        positive = start.positive(held.rate)
        if not positive.any():
            raise InputError(f"no rating of the holdout is positive ({split.describe()})")
        frozen = Hits.frozen(start, held.take(positive), split.holdout_from)
        chain: tuple[Chain | None, Chain | None] = (None, None)
        rated = None
        if scorer:
            chain = chains(start, held.take(positive), split.holdout_from, scorer)
            rated = Rated.of(start, held, positive, split.holdout_from, scorer)
        # Last, because it observes.
        streaming = Hits.streaming(start, held, positive)
        recalls = (*frozen.recalls(FROZEN), *streaming.recalls(STREAMING))
        known = {FROZEN: frozen.known, STREAMING: streaming.known}
        return cls(int(positive.sum()), known, recalls, *chain, rated)

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)
