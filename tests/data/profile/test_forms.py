"""Any form of data is recognised, and what is written about it can be read back and ingested."""

import numpy as np
import pandas as pd
import pytest

from tests.data.profile.tables import (
    CLICKED,
    FLAT,
    ITEM,
    ITEMS,
    NOW,
    RANDOM,
    RATING,
    ROWS,
    SECONDS,
    USER,
    USERS,
    bag,
    features,
    reason,
    write,
)
from widedeep.data.dataset import FeatureType, Side
from widedeep.data.dataset_file import kmrd_spec, load_spec
from widedeep.data.dataset_tables import TimeUnit
from widedeep.data.describe import describe, write_description
from widedeep.data.files import open_table, read_all
from widedeep.data.ingest import ingest
from widedeep.data.profile import samples
from widedeep.inputs import InputError


def refusal(folder):
    with pytest.raises(InputError) as caught:
        describe(folder)
    return str(caught.value)


def movies():
    return {
        "movieId": np.arange(1, ITEMS + 1),
        "title": [f"Film {k} ({1950 + k})" for k in range(ITEMS)],
        "genres": [bag(k) for k in range(ITEMS)],
    }


def write_recbole(folder):
    folder.mkdir()
    rows = zip(USER, ITEM, RATING, SECONDS, strict=True)
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    text = header + "".join("\t".join(map(str, row)) + "\n" for row in rows)
    (folder / "x.inter").write_text(text)
    items = [f"{k}\tFilm {k}\t{1950 + k}\t{bag(k, ' ')}\t.{k} .2\n" for k in range(1, ITEMS + 1)]
    header = (
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
        "\tposter:float_seq\n"
    )
    (folder / "x.item").write_text(header + "".join(items))
    users = [f"{k}\t{15 + k}\t{'MF'[k % 2]}\t{10000 + 7 * k}\n" for k in range(1, USERS + 1)]
    header = "user_id:token\tage:token\tgender:token\tzip_code:token\n"
    (folder / "x.user").write_text(header + "".join(users))
    return folder


def write_movielens_csv(folder):
    ids = np.arange(1, ITEMS + 1)
    ratings = {"userId": USER, "movieId": ITEM, "rating": RATING / 2, "timestamp": SECONDS}
    tags = {"userId": USER[:50], "movieId": ITEM[:50], "tag": "fun", "timestamp": SECONDS[:50]}
    links = {"movieId": ids, "imdbId": 90000 + ids * 13, "tmdbId": 700 + ids * 3}
    write(folder, ratings=ratings, movies=movies(), tags=tags, links=links)
    (folder / "README.txt").write_text("Summary\n=======\n\nRatings, of movies\n")
    return folder


def write_movielens_100k(folder):
    folder.mkdir()
    rows = zip(USER, ITEM, RATING, SECONDS, strict=True)
    (folder / "u.data").write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    items = [
        f"{k}|Film {k} ({1950 + k})|01-Jan-{1950 + k}||http://x.org/{k}|"
        + "|".join(str(int((k * 7 + flag) % 3 == 0)) for flag in range(19))
        for k in range(1, ITEMS + 1)
    ]
    (folder / "u.item").write_text("\n".join(items) + "\n")
    jobs = ("artist", "doctor", "other")
    users = [f"{k}|{15 + k}|{'MF'[k % 2]}|{jobs[k % 3]}|{10000 + k}" for k in range(1, USERS + 1)]
    (folder / "u.user").write_text("\n".join(users) + "\n")
    return folder


def write_movielens_1m(folder):
    folder.mkdir()
    rows = zip(USER, ITEM, RATING, SECONDS, strict=True)
    (folder / "ratings.dat").write_text("".join("::".join(map(str, row)) + "\n" for row in rows))
    films = zip(*movies().values(), strict=True)
    (folder / "movies.dat").write_text("".join("::".join(map(str, row)) + "\n" for row in films))
    users = [f"{k}::{'MF'[k % 2]}::{18 + k % 7}::{k % 21}::{10000 + k}" for k in range(USERS + 1)]
    (folder / "users.dat").write_text("\n".join(users) + "\n")
    return folder


def shop_tables():
    products = {
        "sku": [f"s{k}" for k in range(1, ITEMS + 1)],
        "product_name": [f"물건 {k}" for k in range(ITEMS)],
        "price": np.arange(ITEMS) + 0.5,
        "category_id": 100 + np.arange(ITEMS) % 4,
    }
    customers = {
        "id": [f"c{k}" for k in range(1, USERS + 1)],
        "country": ["KR", "US", "DE"] * (USERS // 3),
    }
    events = {
        "customer": [f"c{k}" for k in USER],
        "sku": [f"s{k}" for k in ITEM],
        "at": pd.to_datetime(SECONDS, unit="s").strftime("%Y-%m-%dT%H:%M:%S+09:00"),
        "action": RANDOM.choice(["view", "cart", "buy"], ROWS, p=[0.6, 0.3, 0.1]),
    }
    return {"events": events, "products": products, "customers": customers}


def write_three_csv(folder):
    return write(folder, **shop_tables())


def write_three_mixed(folder):
    tables = shop_tables()
    return write(
        folder,
        events__parquet=tables["events"],
        products__tsv=tables["products"],
        customers__parquet=tables["customers"],
    )


def write_flat_csv(folder):
    return write(folder, log=FLAT)


def write_flat_tsv(folder):
    return write(folder, log__tsv=FLAT)


def write_flat_parquet(folder):
    return write(folder, log__parquet=FLAT)


FORMS = {
    write_recbole: ("RecBole's typed headers", "user_id", "item_id", "timestamp"),
    write_movielens_csv: ("MovieLens' ratings.csv", "userId", "movieId", "timestamp"),
    write_movielens_100k: ("MovieLens without headers", "user_id", "item_id", "timestamp"),
    write_movielens_1m: ("MovieLens without headers", "user_id", "movie_id", "timestamp"),
    write_three_csv: ("3 tables", "customer", "sku", "at"),
    write_three_mixed: ("3 tables", "customer", "sku", "at"),
    write_flat_csv: ("one flat table", "user_id", "item_id", "timestamp"),
    write_flat_tsv: ("one flat table", "user_id", "item_id", "timestamp"),
    write_flat_parquet: ("one flat table", "user_id", "item_id", "timestamp"),
}


@pytest.fixture(params=FORMS, ids=lambda form: form.__name__)
def form(request, tmp_path):
    """Return a folder in some form, what its description says of it, and what is expected."""
    folder = request.param(tmp_path / "shop")
    return folder, describe(folder), FORMS[request.param]


def test_each_form_is_recognised_with_its_roles(form):
    _, description, (phrase, user, item, time) = form
    assert description.form == phrase
    table = description.spec.interactions
    assert (table.user, table.item, table.time) == (user, item, time)


def test_what_is_written_reads_back_equal_and_can_be_ingested(form, store):
    folder, description, _ = form
    _, path = write_description(folder, None, force=False)
    spec = load_spec(folder)
    assert path == folder / "dataset.toml"
    assert spec == description.spec
    assert spec.name == "shop"
    counts = ingest(folder, spec, store, NOW).summary["counts"]
    assert counts["read"] == ROWS
    assert counts["quarantined"] == 0


def test_describing_twice_gives_the_same_text(form):
    folder, description, _ = form
    assert describe(folder).text == description.text


def test_each_guess_has_a_reason_and_says_how_much_is_missing(form):
    _, description, _ = form
    lines = description.text.splitlines()
    guesses = ("user =", "item =", "time =", "time_unit =", "repeats =", "label =", "id =", "title")
    for line in lines:
        if line.startswith((*guesses, "type =")):
            assert "#" in line, line
        if line.startswith(("user =", "item =", "time =", "label =", "id =", "# Left out: users.")):
            assert "% missing" in line, line


@pytest.mark.parametrize("folder_name", ["kmrd", "my films"])
def test_kmrd_is_its_own_spec_under_the_folders_name(kmrd, folder_name):
    folder = kmrd.rename(kmrd.parent / folder_name)
    description = describe(folder)
    assert description.form == "KMRD"
    assert description.spec == kmrd_spec(folder_name)
    write_description(folder, None, force=False)
    assert load_spec(folder) == description.spec


def test_recbole_gives_titles_ages_bags_and_user_features(tmp_path):
    description = describe(write_recbole(tmp_path / "x"))
    spec, named = description.spec, features(description)
    assert spec.items.title[""].column == "movie_title"
    assert named["item_age"].source == "items.release_year"
    assert (named["class"].type, named["class"].separator) == (FeatureType.BAG, " ")
    assert (named["age"].type, named["gender"].type) == (FeatureType.NUMBER, FeatureType.CATEGORY)
    assert named["age"].side is Side.USER
    assert "vector" in reason(description, "poster")


def test_movielens_gives_the_year_in_the_title_and_ignores_other_files(tmp_path):
    description = describe(write_movielens_csv(tmp_path / "ml"))
    spec, named = description.spec, features(description)
    assert spec.interactions.files == ("ratings.csv",)
    assert (spec.items.files, spec.users) == (("movies.csv",), None)
    assert spec.interactions.label.at_least == 2
    assert (spec.interactions.value.minimum, spec.interactions.value.maximum) == (0.5, 2.5)
    assert (named["item_age"].type, named["item_age"].source) == (FeatureType.AGE, "items.title")
    assert (named["genres"].type, named["genres"].separator) == (FeatureType.BAG, "|")
    for name in ("README.txt", "links.csv", "tags.csv"):
        assert f"# Left out: {name}:" in description.text


def test_u_item_leaves_out_its_flags_of_genres_together(tmp_path):
    description = describe(write_movielens_100k(tmp_path / "ml"))
    named = features(description)
    assert {*named} == {"age", "gender", "occupation", "item_age"}
    assert named["item_age"].source == "items.release_date"
    assert "19 flags" in description.text
    assert "no value" in reason(description, "video_release_date")
    assert "one value an item" in reason(description, "imdb_url")
    assert "one value a user" in reason(description, "zip_code")


def test_codes_in_users_dat_are_categories(tmp_path):
    named = features(describe(write_movielens_1m(tmp_path / "ml")))
    assert named["occupation"].type is FeatureType.CATEGORY
    assert named["age"].type is FeatureType.NUMBER
    assert named["genres"].separator == "|"


@pytest.mark.parametrize(
    ("encoding", "title"), [("cp1252", "Misérables, Les"), ("cp949", "살인의 추억")]
)
def test_a_file_that_is_not_utf8_is_read_in_the_encoding_that_fits(tmp_path, encoding, title):
    folder = write_movielens_100k(tmp_path / "ml")
    text = (folder / "u.item").read_text().replace("Film 7 ", f"{title} ")
    (folder / "u.item").write_bytes(text.encode(encoding))
    description = describe(folder)
    assert description.spec.items.encoding == encoding
    assert f'encoding = "{encoding}"' in description.text
    (file,) = open_table(description.spec, "items", folder)
    assert any(name.startswith(title) for name in read_all(file).columns["title"].to_pylist())


def test_text_of_two_bytes_a_letter_is_refused(tmp_path):
    folder = write_movielens_100k(tmp_path / "ml")
    text = (folder / "u.item").read_text()
    (folder / "u.item").write_bytes(text.encode("utf-16"))
    assert "save the file as UTF-8" in refusal(folder)


def test_tables_are_matched_by_shared_keys_whatever_their_columns_are_called(tmp_path):
    tables = shop_tables()
    tables["customers"]["nick"] = tables["customers"].pop("id")
    tables["events"]["who"] = tables["events"].pop("customer")
    spec = describe(write(tmp_path / "shop", **tables)).spec
    assert (spec.interactions.user, spec.users.id) == ("who", "nick")
    assert spec.interactions.label.equals == "buy"
    assert spec.items.title[""].column == "product_name"


def test_tables_with_the_same_integers_as_ids_are_not_mixed_up(tmp_path):
    log = {"uid": USER, "iid": ITEM, "ts": SECONDS, "rating": RATING}
    people = {"id": np.arange(1, USERS + 1), "age": np.arange(USERS) + 10}
    products = {"id": np.arange(1, ITEMS + 1), "name": [f"n{k}" for k in range(ITEMS)]}
    spec = describe(write(tmp_path / "x", log=log, users=people, items=products)).spec
    assert (spec.users.files, spec.items.files) == (("users.csv",), ("items.csv",))


def test_titles_in_several_languages_keep_theirs(tmp_path):
    tables = shop_tables()
    tables["products"]["title_ko"] = tables["products"].pop("product_name")
    tables["products"]["title_en"] = [f"Thing {k}" for k in range(ITEMS)]
    spec = describe(write(tmp_path / "shop", **tables)).spec
    assert {k: v.column for k, v in spec.items.title.items()} == {
        "ko": "title_ko",
        "en": "title_en",
    }


def test_parts_of_a_table_are_one_glob(tmp_path):
    for month in ("2018-01", "2018-02", "2018-11"):
        write(tmp_path / "x", **{f"clicks-{month}": FLAT})
    assert describe(tmp_path / "x").spec.interactions.files == ("clicks-*.csv",)


def test_a_glob_that_would_match_another_table_is_not_used(tmp_path):
    extra = {"a": [1, 2], "b": ["x", "y"]}
    write(tmp_path / "x", **{"clicks-1": FLAT, "clicks-2": FLAT, "clicks-note": extra})
    files = describe(tmp_path / "x").spec.interactions.files
    assert files == ("clicks-1.csv", "clicks-2.csv")


def test_a_file_name_with_brackets_is_found_again(tmp_path, store):
    folder = write(tmp_path / "x", **{"log [1]": FLAT})
    description = describe(folder)
    counts = ingest(folder, description.spec, store, NOW).summary["counts"]
    assert counts["read"] == ROWS


def test_only_the_first_rows_of_a_file_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "SAMPLE_ROWS", 700)
    assert "in 700 rows" in describe(write(tmp_path / "x", log=FLAT)).text


# Refusals


def test_a_folder_that_does_not_exist_or_is_a_file_is_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path / "nowhere")
    (tmp_path / "a.csv").write_text("x")
    assert "is a file" in refusal(tmp_path / "a.csv")


def test_a_folder_without_data_names_folders_in_it(tmp_path):
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "notes.md").write_text("x")
    message = refusal(tmp_path)
    assert "no file of data" in message
    assert "ml-1m" in message


def test_data_without_time_are_refused(tmp_path):
    log = {name: values for name, values in FLAT.items() if name != "timestamp"}
    assert "retraining needs time" in refusal(write(tmp_path / "x", log=log))


def test_a_time_in_another_form_is_shown(tmp_path):
    message = refusal(write(tmp_path / "x", log={**FLAT, "timestamp": "03/04/2019 10:00"}))
    assert "retraining needs time" in message
    assert "03/04/2019" in message


@pytest.mark.parametrize("names", [("created_at", "updated_at"), ("timestamp", "time")])
def test_two_equally_plausible_times_are_refused_by_name(tmp_path, names):
    log = {name: values for name, values in FLAT.items() if name != "timestamp"}
    log |= {names[0]: SECONDS, names[1]: SECONDS + RANDOM.integers(0, 99, ROWS)}
    message = refusal(write(tmp_path / "x", log=log))
    assert all(name in message for name in names)
    assert "dataset.toml by hand" in message


def test_an_interaction_without_an_item_is_refused(tmp_path):
    log = {("x" if name == "item_id" else name): values for name, values in FLAT.items()}
    message = refusal(write(tmp_path / "x", log=log))
    assert "named like an item" in message
    assert "Rename one to item" in message


def test_two_flags_without_a_name_are_refused_by_name(tmp_path):
    log = {**FLAT, "flag_a": CLICKED, "flag_b": RANDOM.integers(0, 2, ROWS)}
    del log["clicked"]
    message = refusal(write(tmp_path / "x", log=log))
    assert "flag_a and flag_b" in message
    assert "label" in message


def test_a_file_without_a_header_is_refused(tmp_path):
    pd.DataFrame(FLAT).to_csv(tmp_path / "log.csv", header=False, index=False)
    assert "no header" in refusal(tmp_path)


def test_a_file_whose_rows_are_cut_short_is_refused(tmp_path):
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\n1\n2\n")
    assert "as many columns as its header" in refusal(tmp_path)


def test_a_broken_parquet_file_is_refused(tmp_path):
    (tmp_path / "log.parquet").write_bytes(b"PAR1 nothing")
    assert "Parquet" in refusal(tmp_path)


def test_a_file_that_exists_is_written_again_only_by_force(tmp_path):
    folder = write(tmp_path / "x", log=FLAT)
    (folder / "dataset.toml").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        write_description(folder, None, force=False)
    assert (folder / "dataset.toml").read_text() == "mine"
    write_description(folder, None, force=True)
    assert load_spec(folder) == describe(folder).spec


def test_ml_100k_is_described_as_people_would(ml_100k):
    description = describe(ml_100k)
    spec, named = description.spec, features(description)
    table = spec.interactions
    assert (table.user, table.item, table.time) == ("user_id", "item_id", "timestamp")
    assert (table.time_unit, table.integer_ids, table.repeats) == (TimeUnit.SECONDS, True, "first")
    assert spec.label == "rating >= 4"
    assert "55.4% of the rows" in description.text
    assert spec.items.title[""].column == "movie_title"
    types = {name: (feature.source, feature.type) for name, feature in named.items()}
    assert types == {
        "age": ("users.age", FeatureType.NUMBER),
        "gender": ("users.gender", FeatureType.CATEGORY),
        "occupation": ("users.occupation", FeatureType.CATEGORY),
        "item_age": ("items.release_year", FeatureType.AGE),
        "class": ("items.class", FeatureType.BAG),
    }
    assert named["class"].separator == " "
    assert "one value a user" in reason(description, "zip_code")


def test_the_real_kmrd_is_recognised(kmrd_small):
    description = describe(kmrd_small)
    assert (description.form, description.spec) == ("KMRD", kmrd_spec(kmrd_small.name))
