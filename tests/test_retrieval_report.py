"""The report on retrieval: recall and NDCG by hand, and no look ahead."""

import json

import numpy as np
import pytest
import torch

from tests.benchmarks.retrieval_report import RetrievalReport
from tests.worlds import items_of, rated, side_of
from widedeep.data.split import Split
from widedeep.features.attributes import FeatureTables
from widedeep.features.encoded import FeatureSupport
from widedeep.inputs import InputError
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import TrainingConfig
from widedeep.retrieval.retriever import Retriever

ITEMS = range(1, 201)
START = 1_500_000_000
SPLIT = Split(0, START, START + 1000)


def log_of(*rows):
    return rated(*(np.array(column) for column in zip(*sorted(rows, key=by_time), strict=True)))


def by_time(row):
    return row[3], row[0], row[1]


# 30 users liked item 150 and others item 160 more; user 1 liked item 7 with item 120.
EARLY = [
    *[(user, 150, 10, START - 500) for user in range(100, 130)],
    *[(user, 160, 10, START - 500) for user in range(200, 240)],
    *[(user, item, 10, START - 900) for user in (1, 2, 3) for item in (7, 120)],
    (5, 7, 10, START - 100),
]
HELD = [
    (5, 120, 10, START + 10),  # what those liked who liked 7
    (5, 160, 3, START + 20),
    (900, 160, 10, START + 30),  # a new user, the most popular item
    (901, 60, 10, START + 40),  # nobody had liked it
    (902, 60, 10, START + 50),  # streaming, one had
    (903, 60, 10, START + 50),
]
LOG = log_of(*EARLY, *HELD)


@pytest.fixture(scope="module")
def retriever(make_transform):
    side = side_of(items_of(*({"item": m, "title_ko": str(m)} for m in ITEMS)))
    transform = make_transform(items=(1, 2, 3))
    shape = InputShape.from_transform(transform)
    network = WideDeep(NetworkConfig(deep=False), shape, torch.Generator().manual_seed(0))
    none = np.zeros(transform.wide_size, np.int64)
    support = FeatureSupport(none, none, 0, 0)
    model = TrainedModel(transform, network, TrainingConfig(), {}, 0, support)
    tables = FeatureTables.from_side_tables(side)
    return lambda interactions: Retriever.from_interactions(model, interactions, tables, side)


def favouring(item):
    """A model to which `item` is best and of all others the lower token better."""
    return lambda asked: np.where(asked.item == item, 1.0, 0.5 / asked.item)


def recall(report, protocol, source):
    (found,) = (r for r in report.recalls if (r.protocol, r.source) == (protocol, source))
    return found


def test_recall_is_the_share_of_positives_in_the_lists(retriever):
    report = RetrievalReport.of(retriever, LOG, SPLIT)
    assert report.positives == 5
    assert report.known == {"frozen": 1, "streaming": 1}
    assert recall(report, "frozen", "popular").at == {20: 2 / 5, 100: 2 / 5}
    assert recall(report, "frozen", "co-liked").at == {20: 1 / 5, 100: 1 / 5}
    assert recall(report, "frozen", "co-liked").at_known == {20: 1.0, 100: 1.0}
    assert recall(report, "frozen", "similar").at == {20: 0.0, 100: 0.0}
    assert recall(report, "frozen", "merged").at[20] == 2 / 5
    assert recall(report, "frozen", "merged").at[100] == 1.0, "60 fills the list as unliked"
    assert recall(report, "frozen", "random").at[20] == pytest.approx((4 * 20 / 200 + 20 / 199) / 5)


def test_ratings_of_one_instant_do_not_know_each_other(retriever):
    """The likes of 60 by 902 and 903 follow that by 901, and neither helps the other."""
    report = RetrievalReport.of(retriever, LOG, SPLIT)
    assert recall(report, "streaming", "popular").at[20] == 4 / 5
    alone = log_of(*EARLY, *[row for row in HELD if row[0] != 901])
    report = RetrievalReport.of(retriever, alone, SPLIT)
    assert recall(report, "streaming", "popular").at[20] == 2 / 4


def test_what_comes_after_the_holdout_changes_nothing(retriever):
    later = [(user, 60, 10, START + 5000) for user in range(3000, 3100)]
    scorer = favouring(120)
    ours = RetrievalReport.of(retriever, LOG, SPLIT, scorer)
    assert ours == RetrievalReport.of(retriever, log_of(*EARLY, *HELD, *later), SPLIT, scorer)


def test_the_chain_is_ndcg_of_whole_lists(retriever):
    chain = RetrievalReport.of(retriever, LOG, SPLIT, favouring(120))
    # User 5: 120 comes first for the model and for retrieval, third among the popular. User 900:
    # 160 is the most popular, and far down for the model. The others like what nobody liked.
    assert (chain.chain.users, chain.chain_known.users) == (5, 1)
    assert chain.chain_known.chain == chain.chain_known.everything == 1.0
    assert chain.chain.everything == chain.chain.chain == 1 / 5
    assert chain.chain.retrieved == 2 / 5
    assert chain.chain.popular == pytest.approx((1 / np.log2(4) + 1) / 5)


def test_rated_items_that_were_not_retrieved_stand_last(retriever):
    found = RetrievalReport.of(retriever, LOG, SPLIT, favouring(160)).rated
    assert found.everything == pytest.approx(1 / np.log2(3)), "the disliked film comes first"
    assert found.chain == found.everything, "both were retrieved"


def test_without_a_scorer_there_is_no_chain_and_json_is_plain(retriever):
    report = RetrievalReport.of(retriever, LOG, SPLIT)
    assert (report.chain, report.chain_known, report.rated) == (None, None, None)
    assert "NaN" not in json.dumps(report.as_json())


def test_a_holdout_without_positives_is_refused(retriever):
    with pytest.raises(InputError, match="no rating of the holdout is positive"):
        RetrievalReport.of(retriever, log_of(*EARLY, (5, 160, 3, START + 20)), SPLIT)


def test_an_item_that_rules_leave_out_is_found_by_none(retriever):
    nameless = log_of(*EARLY, (900, 500, 10, START + 30), (901, 160, 10, START + 40))
    report = RetrievalReport.of(retriever, nameless, SPLIT)
    for source in ("merged", "popular"):
        assert recall(report, "frozen", source).at == {20: 1 / 2, 100: 1 / 2}
    assert recall(report, "frozen", "random").at[100] == pytest.approx(1 / 4)
