"""Reading promises exact line numbers, and one sentence about a file that is not in KMRD's form."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.data.files import (
    FORMATS,
    ITEMS,
    RATES,
    DelimitedFile,
    open_folder,
    with_internal_names,
)
from widedeep.inputs import InputError

HEADER = "user,movie,rate,time"
BOM = b"\xef\xbb\xbf"


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a file and opens it."""

    def write(content, file_format=RATES):
        path = tmp_path / file_format.name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return DelimitedFile.open(path, file_format)

    return write


def rows(file):
    """Return [(line number, text, fields)] of the whole file."""
    return [tuple(row.values()) for row in file.all_lines().to_pylist()]


def refusal(action, *arguments):
    with pytest.raises(InputError) as caught:
        action(*arguments)
    return str(caught.value)


def test_a_folder_opens_with_all_of_its_files(kmrd):
    assert set(open_folder(kmrd)) == {file_format.name for file_format in FORMATS}


def test_optional_files_may_be_absent(kmrd):
    for file_format in FORMATS:
        if not file_format.required:
            (kmrd / file_format.name).unlink()
    assert set(open_folder(kmrd)) == {"rates.csv", "movies.txt"}


@pytest.mark.parametrize("name", ["rates.csv", "movies.txt"])
def test_a_missing_required_file_is_named_with_what_is_there(kmrd, name):
    (kmrd / name).unlink()
    message = refusal(open_folder, kmrd)
    assert f"{name} missing" in message
    assert "genres.csv" in message


def test_a_missing_folder_and_a_file_in_its_place_are_refused_differently(kmrd):
    assert "does not exist" in refusal(open_folder, kmrd / "no-such")
    assert "is a file" in refusal(open_folder, kmrd / "rates.csv")


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
    message = refusal(written, "user,movie,rating,time\n1,2,3,4\n")
    assert "column rate missing" in message
    assert "found user, movie, rating, time" in message
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


def test_a_column_that_stands_twice_in_the_header_is_refused(written):
    message = refusal(written, "user,movie,rate,time,rate\n1,2,3,4,5\n")
    assert "column rate is in the header more than once" in message


def test_a_header_that_is_not_utf_8_is_refused(written):
    assert "not UTF-8: byte 0xff found in line 1" in refusal(written, HEADER.encode("utf-16"))


@pytest.mark.parametrize("line", [2, 3, 700_000])
def test_a_line_that_is_not_utf_8_is_named(written, line):
    lines = [b"1,10001,10,1500000000"] * 700_001
    lines[line - 2] = "1,영화,10,1500000000".encode("cp949")
    file = written(b"\n".join([HEADER.encode(), *lines]))
    assert f"found in line {line};" in refusal(lambda: list(file.lines()))


@pytest.mark.parametrize("bom", [b"", BOM])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_mark_and_windows_line_ends_change_nothing(written, bom, end):
    content = bom + end.join([HEADER, "1,2,3,4", "5,6,7,8", ""]).encode()
    file = written(content)
    assert file.header == HEADER
    assert rows(file) == [(2, "1,2,3,4", list("1234")), (3, "5,6,7,8", list("5678"))]


def test_columns_are_found_by_name_and_others_are_ignored(written):
    file = written("time,x,rate,movie,user\n4,?,3,2,1\n8,!,7,6,5\n")
    assert file.columns(file.all_lines()).to_pydict() == {
        "user": ["1", "5"],
        "movie": ["2", "6"],
        "rate": ["3", "7"],
        "time": ["4", "8"],
    }


def test_comma_files_may_quote_their_fields(written):
    file = written(
        '"user","movie","rate","time"\n"1","2","3","4"\n5,"6,6",7,8\n1,2,3,"4\n\n9,9,9,9'
    )
    assert [fields for _, _, fields in rows(file)] == [
        list("1234"),
        ["5", "6,6", "7", "8"],
        ['1,2,3,"4'],
        [""],
        list("9999"),
    ]


def test_a_title_may_hold_any_character_but_a_tab(written):
    title = '"It\'s", \'a\' \\ ; | \u2028 \x0b\x0c\x1c\x85 "" 영화'
    file = written(f"{chr(9).join(ITEMS.columns)}\n1\t{title}\t\t\t\n", ITEMS)
    assert file.columns(file.all_lines())["title"].to_pylist() == [title]


@pytest.mark.parametrize(
    ("ending", "blank"), [("", 0), ("\n", 0), ("\n\n", 0), ("\r\n\r\n", 0), ("\n\n\n", 1)]
)
def test_one_blank_line_at_the_very_end_is_no_row(written, ending, blank):
    file = written(f"{HEADER}\n1,2,3,4{ending}")
    assert file.count_rows() == 1 + blank
    assert [text for _, text, _ in rows(file)] == ["1,2,3,4", *[""] * blank]


def test_lines_are_read_in_batches_with_their_numbers(written):
    lines = ["" if n % 9_973 == 0 else f"{n}" * (n % 99) for n in range(2, 50_000)]
    file = written("\n".join([HEADER, *lines, "last"]))
    batches = list(file.lines())
    assert len(batches) > 1
    assert rows(file) == [(n, t, [t]) for n, t in enumerate([*lines, "last"], 2)]
    assert file.count_rows() == len(lines) + 1


def test_byte_ranges_name_the_same_batches(written, monkeypatch):
    monkeypatch.setattr("widedeep.data.files._BLOCK", 1 << 8)
    file = written("\n".join([HEADER, *(f"{n},2,3,4" for n in range(200)), ""]))
    batches = list(file.lines())
    assert len(batches) > 1
    assert [file.read(byte_range) for byte_range in file.byte_ranges()] == batches


def test_only_item_and_value_have_other_names_inside(written):
    file = written(f"{HEADER}\n1,2,3,4\n")
    table = with_internal_names(file.columns(file.all_lines()))
    assert table.to_pydict() == {"user": ["1"], "item": ["2"], "value": ["3"], "time": ["4"]}


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\ufeff"), max_size=12)


@settings(max_examples=60)
@given(lines=st.lists(TEXT, min_size=1, max_size=9), end=st.sampled_from(["\n", "\r\n"]))
def test_lines_are_what_lies_between_line_feeds(tmp_path_factory, lines, end):
    path = tmp_path_factory.getbasetemp() / ITEMS.name
    header = "\t".join(ITEMS.columns)
    path.write_bytes(end.join([header, *lines, "behind", ""]).encode())
    read = rows(DelimitedFile.open(path, ITEMS))
    assert read == [(n, t, t.split("\t")) for n, t in enumerate([*lines, "behind"], 2)]
