"""Plain English and the field's words: what a reader would stumble over is refused here."""

import ast
import re
import tokenize
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    path for package in ("widedeep", "tasks", "flows") for path in (PROJECT / package).rglob("*.py")
)

RIDDLES = re.compile(
    r"\b[Ww]hoever\b|\b[Nn]obody\b|\b[Ss]omebody\b|\b[Ss]o-manieth\b|\b[Ss]trangers?\b"
    r"|^\W*Who\b|\bfor people\b\.?$"
)
"""People are people and processes are processes: neither is 'who' or 'whoever' in a description."""

INVENTED = {
    "scout", "sighting", "groundwork", "shelf", "companion", "coded_bag", "halves", "newcomers",
    "ratingbook", "speakers", "ruled", "movie_side", "wide_side", "deep_side", "cold_ahead",
}  # fmt: skip
"""Names that stood here once and that only their authors understood."""

VAGUE = {"found", "told", "wanted", "held", "kept", "theirs", "ours"}
"""Words that say nothing of what a variable holds."""

LEAST_DOCSTRING = 30
SHAPE = re.compile(
    r"\([^()]*\bn\b|\([a-z_0-9, +*]+,\)|\([a-z_0-9]+, [a-z_0-9, ]+\)|shape|scalar", re.IGNORECASE
)


def name_of(path):
    return path.relative_to(PROJECT).as_posix()


def definitions(path):
    """Yield the public functions and classes of a file, with methods."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node


def described(path):
    """Yield (line, text) of every docstring and comment of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            for number, line in enumerate(str(node.value.value).splitlines()):
                yield node.lineno + number, line
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_description_has_no_riddles(path):
    assert [(line, text) for line, text in described(path) if RIDDLES.search(text)] == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_variable_says_what_it_holds(path):
    names = {
        (node.lineno, node.id)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in VAGUE
    }
    assert names == set()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_names_are_the_fields_own(path):
    names = {
        node.name.lower() for node in definitions(path) if node.name.strip("_").lower() in INVENTED
    }
    assert names | ({path.stem} & INVENTED) == set()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_public_function_is_described_in_a_sentence(path):
    short = {
        node.name: doc
        for node in definitions(path)
        if not node.name.startswith("_")
        and (doc := ast.get_docstring(node)) is not None
        and len(doc) < LEAST_DOCSTRING
    }
    assert short == {}


def arrays_of(function):
    """Return whether an annotation of the function's own names a numpy array."""
    arguments = [*function.args.args, *function.args.kwonlyargs]
    annotations = [argument.annotation for argument in arguments] + [function.returns]
    return any("NDArray" in ast.unparse(note) for note in annotations if note is not None)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_public_function_of_arrays_states_their_shape(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and arrays_of(node)
        and not SHAPE.search(ast.get_docstring(node) or "")
    ]
    assert silent == []
