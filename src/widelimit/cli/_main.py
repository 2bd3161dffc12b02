"""The entry point: where every error ends, in one line and a code that is not zero."""

import sys
from collections.abc import Sequence

_EXPECTED = (
    ImportError,
    ValueError,
    OSError,
)  # of what a user asked for; anything else is a bug and shows its traceback


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `widelimit` with the process's arguments, or with those given; ends the process."""
    try:
        from ._app import app
    except ImportError as error:
        _fail(f'the command line needs {error.name}: `pip install "widelimit[cli]"`')
    try:
        app(arguments, prog_name="widelimit")
    except _EXPECTED as error:
        _fail(str(error))


def _fail(message: str) -> None:
    print(f"widelimit: error: {message}", file=sys.stderr)
    sys.exit(1)
