"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> str:
    """Lines with a newline each; the first `words` columns are text, the rest figures."""
    rule = ["---"] * words + ["--:"] * (len(columns) - words)
    return "".join(_line(cells) for cells in (columns, rule, *rows))


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
