"""A folder is described by what stands in its files; each guess comes with its reason."""

import numpy as np
import pandas as pd
import pytest

from widedeep.data.dataset import FeatureType, Side
from widedeep.data.dataset_file import load_spec, parse_spec
from widedeep.data.dataset_tables import TimeUnit
from widedeep.data.describe import describe, write_description
from widedeep.data.simulator.config import SimulationConfig
from widedeep.data.simulator.write import EXAMPLE, simulate
from widedeep.inputs import InputError

ROWS = 1200


def interactions(rng, **columns):
    """Return a log of 100 users and 80 items, in order of time."""
    user, item = rng.integers(1, 101, ROWS), rng.integers(1, 81, ROWS)
    time = 1_400_000_000 + np.sort(rng.integers(0, 10**8, ROWS))
    rating = rng.choice([1, 2, 3, 4, 5], ROWS, p=[0.1, 0.1, 0.2, 0.35, 0.25])
    return pd.DataFrame({"user": user, "item": item, "rating": rating, "time": time} | columns)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def items(rng):
    genres = ["|".join(rng.choice(["Drama", "Comedy", "War"], n, False)) for n in (1, 2) * 40]
    return pd.DataFrame(
        {
            "item": np.arange(1, 81),
            "title": [f"Film {number}" for number in range(80)],
            "genres": genres,
            "year": rng.integers(1960, 2012, 80),
        }
    )


@pytest.fixture
def users(rng):
    return pd.DataFrame(
        {
            "user": np.arange(1, 101),
            "age": rng.integers(15, 80, 100),
            "gender": rng.choice(["F", "M"], 100),
            "planet": "Earth",
            "email": [f"u{number}@example.com" for number in range(100)],
        }
    )


def write_movielens_csv(folder, log, items, users):
    log.rename(columns={"user": "userId", "item": "movieId", "time": "timestamp"}).to_csv(
        folder / "ratings.csv", index=False
    )
    items.rename(columns={"item": "movieId"}).to_csv(folder / "movies.csv", index=False)
    users.rename(columns={"user": "userId"}).to_csv(folder / "users.csv", index=False)


def write_recbole(folder, log, items, users):
    typed = {"user": "user_id:token", "item": "item_id:token"}
    log.rename(columns=typed | {"rating": "rating:float", "time": "timestamp:float"}).to_csv(
        folder / "shop.inter", sep="\t", index=False
    )
    spaced = items.assign(genres=items.genres.str.replace("|", " "))
    spaced.rename(
        columns=typed
        | {"title": "movie_title:token_seq", "genres": "class:token_seq"}
        | {"year": "release_year:token"}
    ).to_csv(folder / "shop.item", sep="\t", index=False)
    users.rename(
        columns=typed
        | {"age": "age:token", "gender": "gender:token"}
        | {"planet": "planet:token", "email": "email:token"}
    ).to_csv(folder / "shop.user", sep="\t", index=False)


def write_double_colons(folder, log, items, users):
    def write(name, frame):
        lines = ["::".join(map(str, row)) for row in frame.itertuples(index=False)]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="latin-1")

    write("ratings.dat", log)
    write("movies.dat", items[["item", "title", "genres"]])
    write(
        "users.dat",
        users.assign(job=users.age % 7, zip=users.age)[["user", "gender", "age", "job", "zip"]],
    )


def write_parquet(folder, log, items, users):
    log.assign(time=log.time * 1000)[:700].to_parquet(folder / "log-1.parquet", index=False)
    log.assign(time=log.time * 1000)[700:].to_parquet(folder / "log-2.parquet", index=False)
    items.assign(genres=items.genres.str.split("|")).to_parquet(folder / "items.parquet")
    users.to_parquet(folder / "users.parquet", index=False)


FORMS = {
    write_movielens_csv: ("MovieLens' ratings.csv", "userId", "movieId", "timestamp"),
    write_recbole: ("RecBole's typed headers", "user_id", "item_id", "timestamp"),
    write_double_colons: ("MovieLens without headers", "user_id", "movie_id", "timestamp"),
    write_parquet: ("3 tables", "user", "item", "time"),
}


@pytest.mark.parametrize("write", FORMS)
def test_three_tables_are_recognised_in_any_form(write, tmp_path, rng, items, users):
    write(tmp_path, interactions(rng), items, users)
    described, (form, user, item, time) = describe(tmp_path), FORMS[write]
    table = described.spec.interactions
    assert (described.form, table.user, table.item, table.time) == (form, user, item, time)
    assert (table.label.column, table.label.at_least, table.repeats) == ("rating", 4, "first")
    assert described.spec.items.title
    kinds = {feature.name: (feature.side, feature.type) for feature in described.spec.features}
    assert kinds["gender"] == (Side.USER, FeatureType.CATEGORY)
    assert kinds["age"][0] is Side.USER
    bag = kinds.get("genres") or kinds["class"]
    assert bag == (Side.ITEM, FeatureType.BAG)
    assert not {"planet", "email"} & {*kinds}


def test_files_without_a_header_are_known_by_movielens_documentation(tmp_path, rng, users):
    log = interactions(rng)
    log.to_csv(tmp_path / "u.data", sep="\t", index=False, header=False)
    people = users.assign(job="artist", zip=users.index)[["user", "age", "gender", "job", "zip"]]
    people.to_csv(tmp_path / "u.user", sep="|", index=False, header=False)
    described = describe(tmp_path)
    assert described.spec.interactions.columns == ("user_id", "item_id", "rating", "timestamp")
    assert described.spec.users.separator == "|"
    assert described.spec.feature("gender").side is Side.USER


def test_a_flat_click_log_has_context_users_and_hours(tmp_path, rng):
    log = interactions(rng).drop(columns="rating")
    ages, leak = rng.integers(15, 80, 101), rng.random(ROWS)
    log = log.assign(
        clicked=(leak < 0.3).astype(int),
        device=rng.choice(["phone", "desktop"], ROWS),
        user_age=ages[log.user],
        seconds_read=np.where(leak < 0.3, 10 + leak, 0),
        version="1",
        request_id=[f"r{number}" for number in range(ROWS)],
        w=1.0,
    ).rename(columns={"w": "weight"})
    log.time *= 1000
    log.to_csv(tmp_path / "clicks.csv", index=False)
    text, spec = describe(tmp_path).text, describe(tmp_path).spec
    assert spec.interactions.label.column == "clicked"
    assert (spec.interactions.time_unit, spec.interactions.repeats) == (
        TimeUnit.MILLISECONDS,
        "all",
    )
    assert spec.interactions.weight == "weight"
    sides = {feature.name: feature.side for feature in spec.features}
    assert sides == {
        "device": Side.CONTEXT,
        "user_age": Side.USER,
        "hour": Side.CONTEXT,
        "weekday": Side.CONTEXT,
    }
    for column, reason in {
        "seconds_read": "it alone tells the label",
        "version": "a constant",
        "request_id": "nearly one value a row",
    }.items():
        (line,) = [
            line for line in text.splitlines() if f"Left out: interactions.{column}:" in line
        ]
        assert reason in line


def test_missing_values_are_counted_beside_each_guess(tmp_path, rng, items):
    log = interactions(rng)
    log.to_csv(tmp_path / "log.csv", index=False)
    items.loc[:19, "genres"] = None
    items.to_csv(tmp_path / "items.csv", index=False)
    (line,) = [line for line in describe(tmp_path).text.splitlines() if '"bag"' in line]
    assert "25.0% missing" in line


def test_an_index_and_features_of_users_are_no_users(tmp_path, rng):
    """As in the Open Bandit Dataset: anonymous traffic, and names that begin with user."""
    log = interactions(rng).drop(columns=["user", "rating"])
    log["user_feature_0"] = rng.choice(["a", "b", "c"], ROWS)
    log["user-item_affinity_0"] = rng.choice([0.0, 0.5, 1.0], ROWS)
    log["click"] = rng.integers(0, 2, ROWS)
    log.to_csv(tmp_path / "log.csv")
    described = describe(tmp_path)
    assert described.spec.interactions.user is None
    assert "it has no name" in described.text
    named = {feature.name: feature.side for feature in described.spec.features}
    assert named["user_feature_0"] is Side.CONTEXT


def test_the_last_time_of_two_is_not_guessed(tmp_path, rng):
    log = interactions(rng)
    log.rename(columns={"time": "seen"}).assign(left=log.time + 60).to_csv(
        tmp_path / "log.csv", index=False
    )
    with pytest.raises(InputError, match="seen and left both look like the time"):
        describe(tmp_path)


@pytest.mark.parametrize(
    ("labels", "rule"),
    [
        (lambda log: log.rating, ("label", 4, None)),
        (lambda log: np.where(log.rating > 3, "yes", "no"), ("label", None, "yes")),
        (lambda log: np.where(log.rating > 3, "True", "False"), ("label", None, None)),
    ],
)
def test_a_column_named_label_is_the_label_whatever_it_holds(tmp_path, rng, labels, rule):
    log = interactions(rng)
    log.assign(label=labels(log)).drop(columns="rating").to_csv(tmp_path / "log.csv", index=False)
    spec = describe(tmp_path).spec
    found = spec.interactions.label
    assert (found.column, found.at_least, found.equals) == rule
    assert "interaction_label" not in {feature.name for feature in spec.features}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda log: log.drop(columns="time"), "retraining needs time"),
        (lambda log: log.drop(columns="item"), "no column is named like an item"),
        (lambda log: log.assign(rating=3), "rating is always 3; expected a label with two values"),
        (
            lambda log: log.drop(columns="rating").assign(a=log.user % 2, b=log.item % 2),
            "which one is the label",
        ),
    ],
)
def test_a_role_that_cannot_be_guessed_is_asked_for(tmp_path, rng, change, message):
    change(interactions(rng)).to_csv(tmp_path / "log.csv", index=False)
    with pytest.raises(InputError, match=message):
        describe(tmp_path)


def test_a_log_of_positives_gets_sampled_negatives(tmp_path, rng):
    interactions(rng).drop(columns="rating").to_csv(tmp_path / "log.csv", index=False)
    spec = describe(tmp_path).spec
    assert (spec.interactions.label, spec.negatives.per_positive) == (None, 4)


def test_what_is_written_is_what_is_read_and_nothing_is_overwritten(tmp_path, rng):
    interactions(rng).to_csv(tmp_path / "log.csv", index=False)
    description, path = write_description(tmp_path, None, force=False)
    assert load_spec(tmp_path) == description.spec
    assert parse_spec(path.read_text(encoding="utf-8"), "x") == description.spec
    path.write_text("# corrected by hand", encoding="utf-8")
    with pytest.raises(InputError, match="exists already; --force"):
        write_description(tmp_path, None, force=False)
    assert path.read_text(encoding="utf-8") == "# corrected by hand"
    assert write_description(tmp_path, tmp_path / "other.toml", force=False)[1].exists()
    assert write_description(tmp_path, None, force=True)[0] == description


def test_kmrd_is_known_by_its_files(kmrd):
    description = describe(kmrd)
    assert description.form == "KMRD"
    assert "tells the future" in description.text


def test_what_the_simulator_writes_is_described_as_it_was_declared(tmp_path):
    config = SimulationConfig(users=300, items=80, ratings=4000, positive_share=0.3)
    simulate(config, tmp_path / "clicks", EXAMPLE.read_text(encoding="utf-8"))
    declared = load_spec(tmp_path / "clicks")
    for name in ("dataset.toml", "truth.parquet"):
        (tmp_path / "clicks" / name).unlink()
    guessed = describe(tmp_path / "clicks").spec
    columns = {f.source: (f.side, f.type) for f in declared.features if f.source != "time"}
    assert {f.source: (f.side, f.type) for f in guessed.features if f.source != "time"} == columns
    for role in ("user", "item", "time", "label", "repeats", "time_unit"):
        assert getattr(guessed.interactions, role) == getattr(declared.interactions, role)
