"""Plain English and the field's words: what a reader would stumble over is refused here."""

import ast
import re
import tokenize
from functools import cache
from pathlib import Path

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


@cache
def nodes_of(path):
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def definitions(path):
    """Yield the functions, methods and classes of a file."""
    definition = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    yield from (node for node in nodes_of(path) if isinstance(node, definition))


def descriptions(path):
    """Yield (line, text) of every line of a docstring and of every comment."""
    for node in nodes_of(path):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            for number, line in enumerate(str(node.value.value).splitlines()):
                yield node.lineno + number, line
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def test_descriptions_have_no_riddles():
    assert [
        f"{name_of(path)}:{line}: {text}"
        for path in SOURCES
        for line, text in descriptions(path)
        if RIDDLES.search(text)
    ] == []


def test_variables_say_what_they_hold():
    assert [
        f"{name_of(path)}:{node.lineno}: {node.id}"
        for path in SOURCES
        for node in nodes_of(path)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in VAGUE
    ] == []


def test_names_are_the_fields_own():
    named = [(path.stem, path) for path in SOURCES]
    named += [(node.name, path) for path in SOURCES for node in definitions(path)]
    assert [
        f"{name_of(path)}: {name}" for name, path in named if name.strip("_").lower() in INVENTED
    ] == []


def test_public_functions_are_described_in_a_sentence():
    assert [
        f"{name_of(path)}:{node.lineno}: {node.name}: {description}"
        for path in SOURCES
        for node in definitions(path)
        if not node.name.startswith("_")
        and (description := ast.get_docstring(node)) is not None
        and len(description) < LEAST_DOCSTRING
    ] == []


def takes_arrays(function):
    """Return whether an annotation of the function itself names a numpy array."""
    arguments = [*function.args.args, *function.args.kwonlyargs]
    annotations = [argument.annotation for argument in arguments] + [function.returns]
    return any("NDArray" in ast.unparse(note) for note in annotations if note is not None)


def test_public_functions_of_arrays_state_their_shape():
    assert [
        f"{name_of(path)}:{node.lineno}: {node.name}"
        for path in SOURCES
        for node in nodes_of(path)[0].body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and takes_arrays(node)
        and not SHAPE.search(ast.get_docstring(node) or "")
    ] == []
