"""Vectors of all tables in one matrix are what a table each would give, and learn as one would."""

import pytest
import torch
from torch.nn.functional import embedding, embedding_bag

from widedeep.model.embeddings import Embeddings

TABLES = {"user": 5, "movie": 7, "genres": 3}
FEATURES = ("user", "movie", "genres", "movie")
"""Two categories, then two bags, one of which reads the table of a category."""


@pytest.fixture
def embeddings():
    return Embeddings(TABLES, FEATURES, 4, torch.Generator().manual_seed(0))


@pytest.fixture
def read():
    """Three rows; bags of 2, 0 and 1 ids."""
    starts = torch.tensor([0, 2, 2])
    bags = [(torch.tensor([1, 2, 1]), starts), (torch.tensor([6, 3, 3]), starts)]
    return torch.tensor([[4, 6], [0, 6], [4, 1]]), bags


def plain(tables, categories, bags, kept):
    """The same of torch's operations, a table at a time."""
    ids = categories if kept is None else categories * kept[:, :2]
    found = [embedding(of, tables[name]) for of, name in zip(ids.T, FEATURES, strict=False)]
    for i, (of, starts) in enumerate(bags, 2):
        means = embedding_bag(of, tables[FEATURES[i]], starts, mode="mean")
        found.append(means if kept is None else means * kept[:, i : i + 1])
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("dropping", [False, True])
def test_vectors_and_gradients_are_those_of_a_table_each(embeddings, read, dropping):
    kept = torch.tensor([[True, False, True, False], [True] * 4, [False, True, False, True]])
    kept = kept if dropping else None
    tables = {name: embeddings[name].detach().clone().requires_grad_() for name in TABLES}
    found, wanted = embeddings(*read, kept), plain(tables, *read, kept)
    assert torch.equal(found, wanted)
    factor = torch.randn_like(wanted)
    (found * factor).sum().backward()
    (wanted * factor).sum().backward()
    gradient = embeddings.weight.grad
    assert gradient.is_sparse
    for name, rows in embeddings.places.items():
        torch.testing.assert_close(gradient.to_dense()[rows], tables[name].grad)


def test_a_category_that_is_not_kept_is_out_of_vocabulary_and_such_a_bag_empty(embeddings, read):
    found = embeddings(*read, torch.zeros(3, 4, dtype=torch.bool))
    unknown = torch.cat([embeddings["user"][0], embeddings["movie"][0]])
    assert torch.equal(found, torch.cat([unknown, torch.zeros(8)]).expand(3, 16))


def test_without_bags_there_is_a_vector_for_each_category(read):
    embeddings = Embeddings(TABLES, FEATURES[:2], 4, torch.Generator().manual_seed(0))
    found = embeddings(read[0], [], None)
    assert torch.equal(found[1], torch.cat([embeddings["user"][0], embeddings["movie"][6]]))


def test_no_rows_have_no_vectors(embeddings):
    none = torch.empty(0, dtype=torch.int64)
    bags = [(none, none)] * 2
    assert embeddings(none.reshape(0, 2), bags, None).shape == (0, 16)


def test_a_state_dict_has_a_tensor_for_each_table(embeddings):
    state = embeddings.state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        name: (size, 4) for name, size in TABLES.items()
    }
    other = Embeddings(TABLES, FEATURES, 4, torch.Generator().manual_seed(1))
    assert not torch.equal(other.weight, embeddings.weight)
    other.load_state_dict(state)
    assert torch.equal(other.weight, embeddings.weight)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"user": torch.zeros(9, 4)}, r"user is \[9, 4\], wanted is \[5, 4\]"),
        ({"movie": None}, "Missing.*movie"),
    ],
)
def test_a_state_dict_of_other_tables_is_refused(embeddings, wrong, message):
    state = {k: v for k, v in (embeddings.state_dict() | wrong).items() if v is not None}
    with pytest.raises(RuntimeError, match=message):
        embeddings.load_state_dict(state)


def test_tables_are_views_of_the_matrix(embeddings):
    with torch.no_grad():
        embeddings["movie"].fill_(7)
    assert (embeddings.weight == 7).all(1).sum() == TABLES["movie"]
    assert "movie" in embeddings
    assert "grade" not in embeddings


def test_without_tables_there_is_nothing_to_learn():
    nothing = Embeddings({}, (), 4, torch.Generator())
    assert list(nothing.parameters()) == []
    assert nothing.state_dict() == {}
