"""The command `widedeep`.

Exit status: 0 the command finished, whatever it decided; 2 bad input or usage; 1 anything else.
Errors go to stderr, one readable line first.
"""

import sys
import traceback
from collections.abc import Sequence
from inspect import getdoc

from flows import commands
from tasks.form import CommandParser, add_options, parse_options
from widedeep import InputError
from widedeep.workspace import BusyError

_COMMANDS = (
    commands.describe,
    commands.check,
    commands.retrain,
    commands.ablation,
    commands.replay,
    commands.tune,
    commands.status,
    commands.promote,
    commands.rollback,
    commands.explain,
    commands.memorisation,
    commands.up,
    commands.rank,
    commands.serve,
    commands.simulate,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in `arguments` (default: those of the process); return the exit status."""
    try:
        options = _parser().parse_args(arguments)
        command = options.__dict__.pop("command")
        command(**parse_options(options, command))
    except InputError as error:
        return _fail(2, str(error))
    except (BusyError, OSError) as error:
        return _fail(1, str(error))
    except KeyboardInterrupt:
        return _fail(1, "interrupted; nothing was promoted")
    except Exception as error:  # noqa: BLE001  whatever it is, the user gets one readable line first
        return _fail(1, f"{type(error).__name__}: {error}", traceback.format_exc())
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        "widedeep",
        description="Wide & deep models of what users do with items, retrained on schedule. A "
        "model predicts how probable a positive label is, by the rule in dataset.toml (KMRD: a "
        "rating of 10).",
    )
    parsers = parser.add_subparsers(required=True, metavar="command")
    for command in _COMMANDS:
        purpose = (getdoc(command) or "").partition("\n")[0]
        help_ = f"{purpose[0].lower()}{purpose[1:].removesuffix('.')}"
        subparser = parsers.add_parser(command.__name__, help=help_, description=purpose)
        add_options(subparser, command)
        if "WHEN" in subparser.format_usage():
            subparser.epilog = "WHEN is ISO-8601 or UNIX seconds, UTC."
        subparser.set_defaults(command=command)
    return parser


def _fail(status: int, message: str, details: str = "") -> int:
    line = " ".join(message.split())
    sys.stderr.write(f"widedeep: {line}\n{details}")
    return status


if __name__ == "__main__":
    sys.exit(main())
