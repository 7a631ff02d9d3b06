"""The `vasa` command: its table of commands; every error becomes one line and an exit code."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import signal
import threading
import traceback
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Any, Iterator

import click

from vasa_cli import __version__
from vasa_cli.allocator import keep_freed_memory
from vasa_cli.cores import keep_blas_on_one_core
from vasa_cli.errors import explain

COMMANDS = {
    "render": "vasa_cli.cli.render:render",
    "doctor": "vasa_cli.cli.doctor:doctor",
    "weights": "vasa_cli.cli.weights:weights",
    "extract": "vasa_cli.cli.extract:extract",
    "animate": "vasa_cli.cli.animate:animate",
    "dub": "vasa_cli.cli.dub:dub",
    "edit": "vasa_cli.cli.edit:edit",
    "motion": "vasa_cli.cli.motion:motion",
    "plot": "vasa_cli.cli.plot:plot",
    "batch": "vasa_cli.cli.batch:batch",
    "timeline": "vasa_cli.cli.timeline:timeline",
    "compare": "vasa_cli.cli.compare:compare",
    "bench": "vasa_cli.cli.bench:bench",
    "evaluate": "vasa_cli.cli.evaluate:evaluate",
    "verify": "vasa_cli.cli.verify:verify",
    "keys": "vasa_cli.cli.keys:keys",
    "train": "vasa_cli.cli.train:train",
}
INTERRUPTED = 130


class VasaGroup(click.Group):
    """A group that imports commands when they are asked for, and tells every error in one line."""

    def __init__(self, *args: Any, lazy: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return None
        module, attribute = self.lazy[cmd_name].split(":")
        try:
            command: click.Command = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            return None  # an installation without the training code has no `vasa train`
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _termination_as_interrupt():
                return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            click.secho("interrupted", fg="red", err=True)
            ctx.exit(INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of stdout went away; click ends quietly
            if os.environ.get("VASA_DEBUG") == "1":
                click.echo(traceback.format_exc(), err=True)
            message, exit_code = explain(error)
            click.secho(f"error: {' '.join(message.split())}", fg="red", err=True)
            ctx.exit(exit_code)


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Makes SIGTERM clean up as Ctrl-C does, so that a batch system leaves nothing half-written."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.group(
    cls=VasaGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog="\b\nExample:\n  vasa render photo.png speech.wav",
)
@click.version_option(__version__, prog_name="vasa")
def main() -> None:
    """Make a portrait speak: one picture and one sound file in, one video out, offline."""
    keep_freed_memory()
    keep_blas_on_one_core()  # before anything imports NumPy
    atexit.register(gc.freeze)  # what is left at the end goes with the process, unvisited
