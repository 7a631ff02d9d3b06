"""A progress bar on stderr, fed by the library's callback."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Iterator

from vasa_cli.config import Progress, ProgressCallback

if TYPE_CHECKING:
    from rich import progress as rich_progress

STAGES = {
    "photo": "reading the photo",
    "speech": "reading the speech",
    "motion": "sampling the motion",
    "film": "reading the film",
    "frames": "drawing frames",
    "encode": "writing the video",
}


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[ProgressCallback | None]:
    """A callback that draws a bar while the block runs; None when nobody would see it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich import progress as rich_progress
    from rich.console import Console

    bar = rich_progress.Progress(
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.TextColumn("{task.fields[counted]}"),
        rich_progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        yield _Stages(bar)


class _Stages:
    """Shows one stage at a time: a stage that begins takes the place of the one before."""

    def __init__(self, bar: rich_progress.Progress) -> None:
        self.bar = bar
        self.stage = ""
        self.task: rich_progress.TaskID | None = None
        self.begun_s = 0.0

    def __call__(self, progress: Progress) -> None:
        if self.task is None or progress.stage != self.stage:
            if self.task is not None:
                self.bar.remove_task(self.task)
            self.stage = progress.stage
            self.begun_s = time.monotonic()
            self.task = self.bar.add_task(
                STAGES.get(progress.stage, progress.stage), total=progress.total, counted=""
            )
        elapsed_s = time.monotonic() - self.begun_s
        counted = count_text(progress, elapsed_s)
        self.bar.update(self.task, completed=progress.done, total=progress.total, counted=counted)


def count_text(progress: Progress, elapsed_s: float) -> str:
    """How far a stage is, in words: frames come with their number a second."""
    counted = f"{progress.done}/{progress.total}"
    if progress.stage != "frames":
        return counted
    if elapsed_s <= 0 or progress.done == 0:
        return f"{counted} frames"
    return f"{counted} frames, {progress.done / elapsed_s:.1f} fps"
