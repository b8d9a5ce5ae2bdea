"""The command `widedeep`.

Exit status: 0 the command finished, whatever it decided; 2 bad input or usage; 1 anything else.
Errors go to stderr, one readable line first.
"""

import argparse
import sys
import traceback
from collections.abc import Sequence

from pydantic import ValidationError

from flows import options
from widedeep.errors import InputError
from widedeep.home import BusyError

_COMMANDS = {
    "retrain": ("from rating files to a decision", options.retrain_options),
    "ablation": ("what each part of the model is worth", options.ablation_options),
    "replay": ("years of retraining on a simulated clock", options.replay_options),
    "tune": ("search for better settings, on validation", options.tune_options),
    "status": ("which model serves, and what was decided", options.status_options),
    "promote": ("let a version serve, by hand", options.promote_options),
    "rollback": ("let the previous champion serve again", options.rollback_options),
    "explain": ("why the model scores a pair as it does", options.explain_options),
    "memorisation": ("what the wide part remembers", options.memorisation_options),
    "up": ("Prefect, MLflow and the deployments, together", options.up_options),
    "rank": ("ranked films for many users, into a file", options.rank_options),
    "serve": ("answer requests by the champion, over HTTP", options.serve_options),
    "simulate": ("write rating files with known truth", options.simulate_options),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = _parser().parse_args(arguments)
    command: options.Command = given.command
    try:
        command(given)
    except InputError as error:
        return _fail(2, str(error))
    except ValidationError as error:
        found = error.errors()[0]
        return _fail(2, f"{found['loc'][-1]} is {found['input']}: {found['msg']}")
    except (BusyError, OSError) as error:
        return _fail(1, str(error))
    except KeyboardInterrupt:
        return _fail(1, "interrupted; nothing was promoted")
    except Exception as error:  # noqa: BLE001  the last line of defence: say it, then show it
        return _fail(1, f"{type(error).__name__}: {error}", traceback.format_exc())
    return 0


def _fail(status: int, message: str, details: str = "") -> int:
    line = " ".join(message.split())
    sys.stderr.write(f"widedeep: {line}\n{details}")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("widedeep", description="Wide & Deep, retrained on schedule.")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, (purpose, add_options) in _COMMANDS.items():
        add_options(commands.add_parser(name, help=purpose))
    return parser


if __name__ == "__main__":
    sys.exit(main())
