"""How far batch lists differ from user to user, why so little, and what another order costs.

    python -m tests.benchmarks.bench_lists [--data DIR] [--part holdout|validation] [--users N]

from the project's folder. The default preset of any data set (its dataset.toml, or what describing
it says) is trained on what came before the part, and makes lists for everybody at its start:

- by what is known of the users: more known and still alike is the objective, not the data;
- by other orders of the same 100 candidates: `personalisation` of `widedeep rank`, a penalty on
  popularity, diversity by items' attributes, exploration. Their cost is NDCG@10 of the whole list
  (a hit is an item of the list that the user went on to like in the part; in brackets: standard
  error of the difference, over users) and NDCG@10 of the items that users rated, alone.

Nothing here is chosen on the holdout: choose on validation. With JSON=1 in the environment the last
line is a JSON object.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tests.benchmarks.bench_retrieval import KMRD_SMALL
from tests.benchmarks.retrieval_report import list_ndcg
from widedeep.data.ingest import ingest
from widedeep.data.source import resolve_source
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData, Interactions
from widedeep.evaluation.lists import Exposure, Personalisation, self_information
from widedeep.evaluation.scoring import model_scorer
from widedeep.features.attributes import FeatureTables
from widedeep.features.history import Queries
from widedeep.features.training_data import TrainingData, cold_parts
from widedeep.inputs import Precision
from widedeep.metrics import NDCG_CUTOFF, ndcg_at_10
from widedeep.model.fitting import TrainingRun
from widedeep.model.presets import get_preset
from widedeep.model.trained_model import TrainedModel
from widedeep.retrieval.retriever import SHORTLIST_SIZE, Retriever
from widedeep.serving.batch_ranking import BatchRanking, CandidateLists
from widedeep.serving.ranker import Ranker
from widedeep.store import ArtifactStore

Ints, Floats = NDArray[np.int64], NDArray[np.float64]
KNOWN = {"0": 0, "1": 1, "2": 2, "3-9": 3, "10-19": 10, "20+": 20}
"""Groups of users by their interactions: the name, and how many the first has."""


def logit(probability: NDArray[np.floating]) -> Floats:
    """The logits of probabilities, of the same shape."""
    probability = probability.astype(np.float64)
    return np.log(probability / (1 - probability))


@dataclass(frozen=True)
class World:
    """A model that has learned nothing of a part, what was known at its start, and the part."""

    model: TrainedModel
    known: Interactions
    held: Interactions
    tables: FeatureTables
    retriever: Retriever
    at: int

    @classmethod
    def of(cls, data: IngestedData, preset, part: str, epochs: int | None) -> "World":
        end, times = data.last_time + 1, data.interactions().time
        split = Split.from_times(times, end)
        if part == "validation":
            split = Split.from_times(times, split.holdout_from, None, split.validation_from)
        if epochs is not None:
            preset = replace(preset, training=replace(preset.training, epochs=epochs))
        side, interactions = data.side_tables(), data.interactions(split.as_of)
        tables = FeatureTables.from_side_tables(side)
        parts = cold_parts(interactions, tables, split, preset.features, preset.sampling)
        fitting = TrainingRun(TrainingData.from_parts(parts), preset, None, 0)
        for _ in fitting.epochs():
            pass
        model, at = fitting.trained_model(), split.holdout_from
        observed = interactions.observed()
        known = observed.select_rows(observed.time < at)
        held = observed.select_rows(observed.time >= at)
        retriever = Retriever.from_interactions(model, known, tables, side)
        return cls(model, known, held, tables, retriever, at)


@dataclass(frozen=True)
class Candidates:
    """The candidates of u users, as rows of the item table, (u, c); users with fewer are left out.

    `logit` is (u, c), `new` each item's logit for a new user, (m,), `known` how many interactions
    each user has, (u,).
    """

    user: Ints
    item: Ints
    logit: Floats
    new: Floats
    known: Ints

    @classmethod
    def of(cls, world: World, users: Ints) -> "Candidates":
        """By `widedeep rank`'s own code: a list as long as there are candidates."""
        ids, width = world.tables.items.ids, min(SHORTLIST_SIZE, len(world.tables.items.ids) // 2)
        ranker = Ranker.from_interactions(world.model, world.known, world.tables, Precision.FLOAT32)
        shortlist = CandidateLists(world.retriever, world.retriever.eligible(world.at), width)
        batch = BatchRanking.prepare(ranker, ids, world.at, width, shortlist)
        parts = list(batch.lists(users, os.cpu_count() or 1))
        user, item, probability = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("user", "item", "probability")
        )
        full = np.bincount(np.searchsorted(users, user), minlength=len(users)) == width
        rows = np.isin(user, users[full])
        shape = (int(full.sum()), width)
        owners, counts = np.unique(world.known.user, return_counts=True)
        counts = dict(zip(owners.tolist(), counts.tolist(), strict=True))
        known = np.array([counts.get(one, 0) for one in users[full].tolist()])
        items = np.searchsorted(ids, item[rows]).reshape(shape)
        logits = logit(probability[rows]).reshape(shape)
        return cls(users[full], items, logits, logit(ranker.scores(-1, ids, world.at)), known)

    def top(self, score: Floats) -> Ints:
        """The ten of each user with the best score, best first, (u, 10)."""
        best = np.argsort(-score, axis=1, kind="stable")[:, :NDCG_CUTOFF]
        return np.take_along_axis(self.item, best, 1)

    def diverse(self, similarity: Floats, weight: float) -> Ints:
        """Maximal marginal relevance (Carbonell and Goldstein, 1998): each next item's logit minus
        `weight` times its largest similarity, (m, m), to those before it."""
        score, nearest = self.logit.copy(), np.zeros_like(self.logit)
        everyone, shown = np.arange(len(self.user)), []
        for _ in range(NDCG_CUTOFF):
            best = np.argmax(score - weight * nearest, axis=1)
            shown.append(self.item[everyone, best])
            score[everyone, best] = -np.inf
            nearest = np.maximum(nearest, similarity[self.item, shown[-1][:, None]])
        return np.stack(shown, axis=1)


def orders(world: World, candidates: Candidates) -> Iterator[tuple[str, Ints, Floats | None]]:
    """Yield each order: its name, its lists, and what it takes from the logits of the part's rows.

    The latter, (n,), is None where an order is not one of single items.
    """
    ids, new, item = world.tables.items.ids, candidates.new, candidates.item
    rng, rng_of_rows = np.random.default_rng(0), np.random.default_rng(1)
    rows = world.tables.items.find_rows(world.held.item)
    times = np.bincount(world.tables.items.find_rows(world.known.item), minlength=len(ids) + 1)
    popularity = np.log1p(times[: len(ids)])
    similar = world.retriever.sources.similar
    likeness = np.stack([similar.scores(np.array([i]), np.ones(1)) for i in range(len(ids))])
    yield "probability", candidates.top(candidates.logit), np.zeros(len(rows))
    for part in (0.25, 0.5, 0.75, 0.9):
        lists = candidates.top(candidates.logit - part * new[item])
        yield f"personalisation {part}", lists, part * np.append(new, 0.0)[rows]
    for part in (0.02, 0.05, 0.1):
        lists = candidates.top(candidates.logit - part * popularity[item])
        yield f"popularity penalty {part}", lists, part * np.append(popularity, 0.0)[rows]
    for weight in (0.5, 2.0):
        yield f"attribute diversity {weight}", candidates.diverse(likeness, weight), None
    for heat in (0.05, 0.1, 0.2):
        noise = heat * rng.gumbel(size=item.shape)
        taken = -heat * rng_of_rows.gumbel(size=len(rows))
        yield f"exploration {heat}", candidates.top(candidates.logit + noise), taken
    yield "a new user's order", candidates.top(new[item]), None
    yield "popularity", candidates.top(popularity[item]), None
    yield "random", candidates.top(rng.random(item.shape)), None


def measured(world: World, lists: Ints) -> Personalisation:
    """The figures of lists of rows of the item table, (u, 10)."""
    ids = world.tables.items.ids
    exposure = Exposure.empty(ids)
    exposure.add(len(lists), ids[lists].ravel())
    return exposure.measure(self_information(world.known, ids))


class Judge:
    """What users liked in the part, against lists made at its start."""

    def __init__(self, world: World, candidates: Candidates) -> None:
        held, at = world.held, np.full(len(world.held), world.at)
        self.held, rows = held, world.tables.items.find_rows(held.item)
        scorer = model_scorer(world.model, world.known, world.tables)
        self.logit = logit(scorer(Queries(held.user, held.item, held.time, at, held.context)))
        likes: dict[int, list[int]] = {}
        for user, item in zip(held.user[held.label], rows[held.label], strict=True):
            likes.setdefault(int(user), []).append(int(item))
        position = np.searchsorted(candidates.user, [*likes]).clip(max=len(candidates.user) - 1)
        there = candidates.user[position] == [*likes]
        self.position = position[there]
        self.likes = [
            np.array(items) for items, ok in zip(likes.values(), there, strict=True) if ok
        ]
        self.returning = candidates.known[self.position] > 0

    def whole(self, lists: Ints) -> Floats:
        """NDCG@10 of the whole list of each user with a like, (u,)."""
        pairs = zip(lists[self.position], self.likes, strict=True)
        return np.array([list_ndcg(shown, liked) for shown, liked in pairs])

    def rated(self, taken: Floats) -> float:
        """NDCG@10 of the items that users rated, after `taken` (n,) is taken from their logits."""
        return ndcg_at_10(self.held.label, self.logit - taken, self.held.user)


def by_known(world: World, candidates: Candidates) -> list[dict]:
    """Lists by probability, by how many interactions are known of their users."""
    by_probability, by_item = (
        candidates.top(score) for score in (candidates.logit, candidates.new[candidates.item])
    )
    rows, group = [], np.searchsorted([*KNOWN.values()], candidates.known, "right") - 1
    centred = candidates.logit - candidates.logit.mean(axis=1, keepdims=True)
    for number, name in enumerate(KNOWN):
        chosen = group == number
        if chosen.sum() < 2:
            continue
        items, own = candidates.item[chosen].ravel(), centred[chosen].ravel()
        totals, counts = np.bincount(items, own), np.bincount(items)
        common = (totals / np.maximum(counts, 1))[items]
        figures = measured(world, by_probability[chosen])
        alone = measured(world, by_item[chosen])
        item_share = 1 - float(np.mean((own - common) ** 2) / np.mean(own**2))
        rows.append(
            {"interactions": name, "users": int(chosen.sum())}
            | {"items": figures.items, "overlap": figures.overlap}
            | {"overlap_of_a_new_users_order": alone.overlap, "item_share": item_share}
        )
    return rows


def by_order(world: World, candidates: Candidates) -> list[dict]:
    """Each order's figures among users known before, and its cost."""
    judge, rows, base = Judge(world, candidates), [], None
    seen = candidates.known > 0
    for name, lists, taken in orders(world, candidates):
        gains = judge.whole(lists)
        base = gains if base is None else base
        error = float(np.std(gains - base) / np.sqrt(len(gains)))
        returning = float(gains[judge.returning].mean()) if judge.returning.any() else None
        rated = None if taken is None else judge.rated(taken)
        quality = {"ndcg": float(gains.mean()), "error": error, "ndcg_returning": returning}
        figures = asdict(measured(world, lists[seen]))
        rows.append({"order": name, **figures, **quality, "ndcg_rated": rated})
    return rows


def table_of(title: str, rows: list[dict]) -> Table:
    """A table of rows with the same keys."""
    table = Table(title=title, box=SIMPLE_HEAD)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="left" if name == "order" else "right")
    for row in rows:
        table.add_row(
            *(
                "-" if v is None else f"{v:.4f}" if isinstance(v, float) else f"{v}"
                for v in row.values()
            )
        )
    return table


def measure(options: argparse.Namespace, folder: Path) -> dict:
    """Train, rank, judge."""
    source = resolve_source(str(options.data), folder, {})
    data = IngestedData(ingest(source.folder, source.spec, ArtifactStore(folder), int(time.time())))
    world = World.of(data, get_preset("default", source.spec), options.part, options.epochs)
    users = np.unique(world.known.user)
    if options.users is not None and options.users < len(users):
        users = np.random.default_rng(0).choice(users, options.users, replace=False)
    users = np.unique(np.concatenate([users, world.held.user]))
    candidates = Candidates.of(world, users)
    return {
        "data": source.name,
        "part": options.part,
        "by_known": by_known(world, candidates),
        "by_order": by_order(world, candidates),
    }


def options_of(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="bench_lists", description=__doc__.split("\n")[0])
    parser.add_argument("--data", default=KMRD_SMALL, help="a folder of data")
    parser.add_argument("--part", choices=("holdout", "validation"), default="validation")
    parser.add_argument("--users", type=int, help="at most so many known users, drawn at random")
    parser.add_argument("--epochs", type=int, help="at most; default: those of the preset")
    return parser.parse_args(arguments)


def main() -> None:
    """Run all and print."""
    options = options_of(sys.argv[1:])
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        report = measure(options, Path(folder))
    console = Console(width=max(170, Console().width))
    title = f"{report['data']}, {report['part']}"
    console.print(table_of(f"{title}: lists by probability", report["by_known"]))
    console.print(table_of(f"{title}: users known before; NDCG@10 of all", report["by_order"]))
    if os.environ.get("JSON") == "1":
        sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
