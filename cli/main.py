"""The program `secmesh`: what happens before and after its commands."""

import gc
import os
import signal
import sys

_INTERRUPTED = 128 + signal.SIGINT
"""Exit code of whom a signal ended, as shells have it."""


def main() -> None:
    """Run the command line and leave with its exit code."""
    # Modules take a moment to load: Ctrl-C then ends the program without a word.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # gRPC's C core would write lines of its own on standard error; it reads this when it loads.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Of modules nothing is garbage, and what a command leaves ends with it.
    gc.disable()
    from cli.app import app
    from cli.ending import TRACEBACK_SETTING, tell_mistake

    gc.freeze()
    gc.enable()

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        app(prog_name="secmesh")  # also as `python -m`: completion is named by it
    except KeyboardInterrupt:
        # Commands end by themselves at Ctrl-C; this came before one had begun.
        sys.exit(_INTERRUPTED)
    except Exception as error:
        if os.environ.get(TRACEBACK_SETTING):
            raise
        sys.exit(tell_mistake(error))


if __name__ == "__main__":
    main()
