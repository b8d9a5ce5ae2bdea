"""Reading promises exact line numbers, and one sentence about a file that cannot be used."""

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.data.dataset_file import kmrd_spec
from widedeep.data.files import (
    DelimitedFile,
    FileFormat,
    open_file,
    open_table,
    read_all,
)
from widedeep.data.reading.header import recognise_separator
from widedeep.inputs import InputError

SPEC = kmrd_spec("kmrd")
RATES = FileFormat(("user", "movie", "rate", "time"), ",")
ITEMS = FileFormat(("movie", "title", "title_eng", "grade"), "\t")
FORMATS = [RATES, ITEMS]
HEADER = "user,movie,rate,time"
BOM = b"\xef\xbb\xbf"


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a file and opens it."""

    def write(content, file_format=RATES, name="rates.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return open_file(path, file_format)

    return write


def rows(file):
    """Return [(line number, text)] of the whole file."""
    read = read_all(file)
    return list(zip(read.line.to_pylist(), read.text.to_pylist(), strict=True))


def columns(file):
    return read_all(file).columns.to_pydict()


def refusal(action, *arguments):
    with pytest.raises(InputError) as caught:
        action(*arguments)
    return str(caught.value)


def test_the_files_of_a_table_are_those_of_its_globs_in_order(kmrd):
    (kmrd / "rates-2020.csv").write_text(f"{HEADER}\n1,2,3,4\n")
    (kmrd / "rates-2019.csv").write_text(f"{HEADER}\n1,2,3,4\n")
    names = [file.path.name for file in open_table(SPEC, "interactions", kmrd)]
    assert names == ["rates.csv", "rates-2019.csv", "rates-2020.csv"]


def test_optional_tables_may_be_absent(kmrd):
    (kmrd / "genres.csv").unlink()
    assert open_table(SPEC, "genres", kmrd) == []


@pytest.mark.parametrize(
    ("table", "name"), [("interactions", "rates.csv"), ("items", "movies.txt")]
)
def test_a_missing_file_is_named_with_what_is_there(kmrd, table, name):
    (kmrd / name).unlink()
    message = refusal(open_table, SPEC, table, kmrd)
    assert f"{name}" in message
    assert "missing" in message
    assert "genres.csv" in message


def test_a_missing_folder_and_a_file_in_its_place_are_refused_differently(kmrd):
    assert "does not exist" in refusal(open_table, SPEC, "items", kmrd / "no-such")
    assert "is a file" in refusal(open_table, SPEC, "items", kmrd / "rates.csv")


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n\r\n", BOM])
@pytest.mark.parametrize("file_format", FORMATS)
def test_an_empty_file_is_refused(written, file_format, content):
    assert "is empty" in refusal(written, content, file_format)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("file_format", FORMATS)
def test_a_file_that_is_only_a_header_is_refused(written, file_format, ending):
    content = file_format.separator.join(file_format.columns) + ending
    assert "has only a header" in refusal(written, content, file_format)


def test_a_missing_column_is_named_with_the_columns_found_and_expected(written):
    message = refusal(written, "user,movie,rates,time\n1,2,3,4\n")
    assert "column rate missing; did you mean 'rates'?" in message
    assert "found user, movie, rates, time" in message
    assert "expected user, movie, rate, time" in message


@pytest.mark.parametrize(
    ("separator", "file_format", "word", "expected"),
    [
        ("\t", RATES, "tab", "comma"),
        (";", RATES, "semicolon", "comma"),
        (",", ITEMS, "comma", "tab"),
    ],
)
def test_another_separator_is_named_with_the_expected_one(
    written, separator, file_format, word, expected
):
    row = separator.join("1" for _ in file_format.columns)
    content = f"{separator.join(file_format.columns)}\n{row}\n"
    message = refusal(written, content, file_format)
    assert f"separated by {word}; expected {expected}" in message


@pytest.mark.parametrize("separator", [",", "\t", ";", "|", "::"])
def test_a_separator_that_is_not_stated_is_recognised(written, separator):
    file_format = FileFormat(("a", "b"))
    file = written(f"a{separator}b\n1{separator}2\n", file_format)
    assert recognise_separator(f"a{separator}b") == separator
    assert columns(file) == {"a": ["1"], "b": ["2"]}


def test_a_file_without_a_header_gets_its_names_from_the_spec(written):
    file = written("1::2::3\n4::5::6\n", FileFormat(("c", "a"), "::", ("a", "b", "c")), "u.dat")
    assert columns(file) == {"c": ["3", "6"], "a": ["1", "4"]}
    assert [line for line, _ in rows(file)] == [1, 2]


def test_the_types_in_recboles_headers_are_not_part_of_the_names(written):
    file_format = FileFormat(("user_id", "age"))
    file = written("user_id:token\tage:float\n7\t30\n", file_format, "ml.user")
    assert columns(file) == {"user_id": ["7"], "age": ["30"]}


def test_parquet_is_read_as_the_text_that_a_csv_file_would_hold(tmp_path):
    path = tmp_path / "clicks.parquet"
    pd.DataFrame(
        {
            "user": ["가", "b", None],
            "n": [1, 2, 3],
            "x": [1.5, 2.0, None],
            "yes": [True, False, True],
            "tags": [["a", "b"], [], None],
            "at": pd.to_datetime(["2020-01-01T00:00:00Z"] * 3),
            "kind": pd.Categorical(["u", "v", "u"]),
        }
    ).to_parquet(path, row_group_size=2)
    names = ("user", "n", "x", "yes", "tags", "at", "kind")
    file = open_file(path, FileFormat(names))
    read = read_all(file)
    assert file.count_rows() == 3
    assert read.line.to_pylist() == [1, 2, 3]
    assert read.columns.to_pydict() == {
        "user": ["가", "b", None],
        "n": ["1", "2", "3"],
        "x": ["1.5", "2", None],
        "yes": ["true", "false", "true"],
        "tags": [["a", "b"], [], None],
        "at": ["2020-01-01 00:00:00.000000Z"] * 3,
        "kind": ["u", "v", "u"],
    }


def test_a_parquet_file_that_is_none_or_lacks_a_column_is_refused(tmp_path):
    path = tmp_path / "clicks.parquet"
    path.write_text("user,item\n1,2\n")
    assert "not a readable Parquet file" in refusal(open_file, path, FileFormat(("user",)))
    pd.DataFrame({"usr": [1]}).to_parquet(path)
    assert "did you mean 'usr'?" in refusal(open_file, path, FileFormat(("user",)))


def test_a_column_that_stands_twice_in_the_header_is_refused(written):
    message = refusal(written, "user,movie,rate,time,rate\n1,2,3,4,5\n")
    assert "column rate is in the header more than once" in message


def test_a_header_that_is_not_utf_8_is_refused(written):
    header = HEADER.replace("rate", "평점").encode("cp949")
    assert "not UTF-8: byte 0xc6 found in line 1" in refusal(written, header)


def test_a_named_encoding_is_read_and_a_line_that_is_not_in_it_is_named(written):
    korean = "1,영화,10,4".encode("cp949")
    file_format = replace(RATES, encoding="cp949")
    file = written(b"\n".join([HEADER.encode(), korean]), file_format)
    assert rows(file) == [(2, "1,영화,10,4")]
    file = written(b"\n".join([HEADER.encode(), korean, b"1,\xff,10,4"]), file_format)
    assert "not CP949: byte 0xff found in line 3" in refusal(read_all, file)


@pytest.mark.parametrize("line", [2, 3, 700_000])
def test_a_line_that_is_not_utf_8_is_named(written, line):
    lines = [b"1,10001,10,1500000000"] * 700_001
    lines[line - 2] = "1,영화,10,1500000000".encode("cp949")
    file = written(b"\n".join([HEADER.encode(), *lines]))
    assert f"found in line {line};" in refusal(read_all, file)


@pytest.mark.parametrize("bom", [b"", BOM])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_mark_and_windows_line_ends_change_nothing(written, bom, end):
    content = bom + end.join([HEADER, "1,2,3,4", "5,6,7,8", ""]).encode()
    file = written(content)
    assert file.header == HEADER
    assert rows(file) == [(2, "1,2,3,4"), (3, "5,6,7,8")]
    assert columns(file)["time"] == ["4", "8"]


def test_columns_are_found_by_name_and_others_are_ignored(written):
    file = written("time,x,rate,movie,user\n4,?,3,2,1\n8,!,7,6,5\n")
    assert columns(file) == {
        "user": ["1", "5"],
        "movie": ["2", "6"],
        "rate": ["3", "7"],
        "time": ["4", "8"],
    }


def test_comma_files_may_quote_their_fields(written):
    file = written(
        '"user","movie","rate","time"\n"1","2","3","4"\n5,"6,6",7,8\n1,2,3,"4\n\n9,9,9,9'
    )
    assert columns(file)["movie"] == ["2", "6,6", None, None, "9"]
    assert read_all(file).faults.to_pylist() == [
        None,
        None,
        "wrong number of columns: found 1, expected 4",
        "blank line",
        None,
    ]


def test_a_title_may_hold_any_character_but_a_tab(written):
    title = '"It\'s", \'a\' \\ ; | \u2028 \x0b\x0c\x1c\x85 "" 영화'
    file = written(f"{chr(9).join(ITEMS.columns)}\n1\t{title}\t\t\n", ITEMS)
    assert columns(file)["title"] == [title]


@pytest.mark.parametrize(
    ("ending", "blank"), [("", 0), ("\n", 0), ("\n\n", 0), ("\r\n\r\n", 0), ("\n\n\n", 1)]
)
def test_one_blank_line_at_the_very_end_is_no_row(written, ending, blank):
    file = written(f"{HEADER}\n1,2,3,4{ending}")
    assert file.count_rows() == 1 + blank
    assert [text for _, text in rows(file)] == ["1,2,3,4", *[""] * blank]


def test_rows_are_read_in_parts_with_their_numbers(written, monkeypatch):
    monkeypatch.setattr("widedeep.data.files._BLOCK", 1 << 12)
    lines = ["" if n % 9_973 == 0 else f"{n}" * (n % 99) for n in range(2, 5_000)]
    file = written("\n".join([HEADER, *lines, "last"]))
    assert len(list(file.ranges())) > 1
    assert rows(file) == list(enumerate([*lines, "last"], 2))
    assert file.count_rows() == len(lines) + 1


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\ufeff"), max_size=12)


@settings(max_examples=60)
@given(lines=st.lists(TEXT, min_size=1, max_size=9), end=st.sampled_from(["\n", "\r\n"]))
def test_lines_are_what_lies_between_line_feeds(tmp_path_factory, lines, end):
    path = tmp_path_factory.getbasetemp() / "movies.txt"
    header = "\t".join(ITEMS.columns)
    path.write_bytes(end.join([header, *lines, "behind", ""]).encode())
    read = rows(DelimitedFile.open(path, ITEMS))
    assert read == list(enumerate([*lines, "behind"], 2))
