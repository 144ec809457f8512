"""The command ``textcls``: training, and what there is to do with runs and models after it."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from textcls import __version__
from textcls.cli.options import PROGRAM
from textcls.errors import (
    NO_READER,
    Interrupted,
    discard_output,
    print_any_character,
    status_and_reason,
    tell,
)
from textcls.training.signals import raising

# Each is a module of this package with a click command of the same name.
VERBS = (
    "train",
    "curve",
    "fasttext",
    "data",
    "predict",
    "evaluate",
    "inspect",
    "neighbors",
    "explain",
    "export",
    "compress",
    "compare",
    "cache",
    "doctor",
)


@contextlib.contextmanager
def _closed_pipe() -> Iterator[None]:
    """End with ``NO_READER`` at a closed pipe; click and rich would end with 1."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(NO_READER) from None
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            raise click.exceptions.Exit(NO_READER) from None
        raise


class _Verbs(click.Group):
    """Imports a verb's module when the verb is asked for."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = difflib.get_close_matches(args[0], VERBS, 1)
        if near and args[0] not in VERBS:
            ctx.fail(f"No such command '{args[0]}'. Did you mean '{near[0]}'?")
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _closed_pipe():  # --help writes here
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _closed_pipe():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"{__name__}.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=False,
)
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """Train, use and compare text classifiers.

    MODEL is a run folder, or the model folder inside one.
    """


def _status_and_line(error: Exception) -> tuple[int, str]:
    """Return the exit status that an error comes to, and its one line."""
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        more = f" ({context.command_path} --help tells more)" if context else ""
        return 2, error.format_message() + more
    return status_and_reason(error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status.

    0 done, 2 bad input, 130 or 143 interrupted, 141 nobody reads what is written, 1 anything else.
    """
    status, message = 0, ""
    if sys.stdin is None:  # closed, as by <&-
        sys.stdin = open(os.devnull)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    print_any_character()
    with raising() as received:
        try:
            # Without standalone_mode click raises, and telling is ours; --help gives a status.
            typed = sys.argv[1:] if arguments is None else list(arguments)
            status = cli.main(typed, PROGRAM, standalone_mode=False, obj=typed) or 0
            sys.stdout.flush()
        except SystemExit as done:  # the shell completion ends so
            status = int(done.code or 0)
        except BrokenPipeError:
            discard_output()
            status = NO_READER
        except Interrupted as error:
            status, message = error.exit_status, str(error)
        except Exception as error:
            status, message = _status_and_line(error)
    if received.signum is not None and status != 128 + received.signum:
        stopped = Interrupted(received.signum)
        status, message = stopped.exit_status, str(stopped)
    if message:
        tell(message)
    return status
