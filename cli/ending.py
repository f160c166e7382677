"""How the command ends when something outside of it fails: in words, never with a traceback."""

import os
import sys
from io import TextIOWrapper
from typing import Any

import typer
from typer.core import TyperGroup

from cli.exit_codes import ExitCode
from cli.output import talk

TRACEBACK_SETTING = "SECMESH_TRACEBACK"


class Root(TyperGroup):
    """The root command: every verb runs inside of it."""

    def invoke(self, ctx: Any) -> Any:
        if sys.stdout is None or sys.stderr is None:
            raise typer.Exit(ExitCode.REFUSED)  # closed by the caller: nowhere to say why
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                # Characters that the terminal's encoding lacks are shown by their numbers.
                stream.reconfigure(errors="backslashreplace")
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a full disk is told here, not after the last word
        except BrokenPipeError:
            _drop_output()
            raise typer.Exit(ExitCode.READER_LEFT) from None
        except UnicodeError:
            raise typer.BadParameter("arguments and settings are UTF-8 text") from None
        except OSError as error:
            _drop_output()
            place = f"{error.filename}: " if error.filename else ""
            talk.print(f"{place}{error.strerror or error}", style="bold red", markup=False)
            raise typer.Exit(ExitCode.REFUSED) from None
        return result


def _drop_output() -> None:
    """Let what is still buffered go nowhere: nobody reads it, and its failure was told."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # not a file of the system, as in tests
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, output)
    os.close(nowhere)


def tell_mistake(error: Exception) -> ExitCode:
    """Name a mistake of this program; its text stays out, for it may hold a token."""
    talk.print(
        f"secmesh made a mistake ({type(error).__name__}); {TRACEBACK_SETTING}=1 shows where",
        style="bold red",
        markup=False,
    )
    return ExitCode.REFUSED
