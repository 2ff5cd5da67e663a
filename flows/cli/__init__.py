"""The command line.

Exit status: 0 passed, 1 the data broke its contract, 2 the recipe or the call is wrong, 3 the machine failed.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from functools import partial

from nhwc.flows.cli import building, exporting, judging, measuring, scheduling, upkeep  # noqa: F401  their commands
from nhwc.flows.cli.shared import app, complain
from nhwc.validators.errors import MachineError, NhwcError


def main() -> None:
    """Run the command; end with the right status and, for what can be foreseen, one clear message."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported
    _open_missing_streams()
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        signal.signal(number, partial(_interrupted, status))
    try:
        app()
    except NhwcError as error:
        _fail(str(error), error.exit_status)
    except OSError as error:
        _fail(f"{error.filename or 'output'}: {error.strerror or error}", MachineError.exit_status)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # the reader of our output has gone: nothing is left to say
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(0)
        raise
    except Exception as error:
        traceback.print_exc()
        said = f"{type(error).__name__}: {error}"
        _fail(f"{said}: a fault of nhwc, not of the data: report it with what stands above", NhwcError.exit_status)


def _fail(message: str, status: int) -> None:
    complain(message)
    sys.exit(status)


def _interrupted(status: int, number: int, frame: object) -> None:
    """End by way of SystemExit, so that everything open is closed and Prefect stops its temporary server.

    Whoever interrupts once more ends it at once: what was finished is kept then too.
    """
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: os._exit(status))
    print("nhwc: interrupted; what was finished is kept: run the same again to go on", file=sys.stderr)
    sys.exit(status)


def _open_missing_streams() -> None:
    """See that stdout and stderr are there, and take any file name, whatever the caller closed or set."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
            setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8"))
        elif isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
