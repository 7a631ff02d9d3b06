"""A renderer that takes no time and needs no weights, for workers in other processes.

What a job does is written in its photo: "good", "no face", "crash", "memory once", "die", "die
once", "slow", or "both", which waits until two workers have started. Its video is a text that
follows from inputs and options alone.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from vasa_cli.config import Progress, ProgressCallback, RenderOptions, RenderResult
from vasa_cli.errors import InputError, ResourceError, WeightsError

SLOW_S = 60.0


@dataclass(frozen=True)
class FakeFactory:
    """Takes what PipelineFactory takes; `weights_dir` holds the notes too."""

    weights_dir: Path
    device: str = "cpu"
    threads: int = 1

    def __call__(self) -> FakeRenderer:
        notes = self.weights_dir / "notes"
        notes.mkdir(exist_ok=True)
        if (notes / "damaged").exists():
            raise WeightsError("decoder weights are damaged")
        if (notes / "too-large").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        note(notes, "loaded", f"{os.getpid()} {self.threads} {os.environ.get('OMP_NUM_THREADS')}")
        return FakeRenderer(notes)


@dataclass(frozen=True)
class LeavingFactory:
    """Makes a renderer that is told to end once more while it goes, and notes that it went."""

    folder: Path

    def __call__(self) -> FakeRenderer:
        return LeavingRenderer(self.folder)


class FakeRenderer:
    def __init__(self, notes: Path) -> None:
        self.notes = notes
        self.photos: set[Path] = set()

    def render(
        self,
        photo: Path,
        speech: Path,
        output: Path,
        *,
        options: RenderOptions,
        progress: ProgressCallback | None,
    ) -> RenderResult:
        begun_s = time.monotonic()
        tell = progress or (lambda step: None)
        tell(Progress("photo", 0, 1))
        for path in (photo, speech):
            if not path.exists():
                raise InputError(f"{path} does not exist; check its name and folder")
        if photo not in self.photos:
            self.photos.add(photo)
            note(self.notes, "encoded", f"{os.getpid()} {photo.name}")
        note(self.notes, "rendered", f"{os.getpid()} {output.name}")
        tell(Progress("speech", 0, 1))
        self.act(photo.read_text().strip(), output)
        content = photo.read_bytes() + speech.read_bytes() + repr(options).encode()
        tell(Progress("frames", 0, 3))
        for number in range(1, 4):
            tell(Progress("frames", number, 3))
        digest = hashlib.sha256(content).hexdigest()
        partial = output.with_name(f".{output.stem}.{os.getpid()}.part.mp4")
        partial.write_text(digest)
        os.replace(partial, output)
        return RenderResult(
            output=output,
            n_frames=50,
            fps=options.fps,
            width=options.size,
            height=options.size,
            duration_s=2.0,
            elapsed_s=time.monotonic() - begun_s,
            seed=options.seed,
            device="cpu",
            frames_sha256=digest,
            warnings=("silent",) if b"silent" in speech.read_bytes() else (),
        )

    def act(self, what: str, output: Path) -> None:
        first = not (self.notes / f"tried-{output.name}").exists()
        (self.notes / f"tried-{output.name}").touch()
        what = what.split(",")[0]
        if what == "no face":
            raise InputError(f"no face found in {output.name}; use a front-facing portrait")
        if what == "crash":
            raise ValueError("odd shape")
        if what == "memory" or (what == "memory once" and first):
            raise ResourceError("ffmpeg failed; run again")
        if what == "die" or (what == "die once" and first):
            partial = output.with_name(f".{output.stem}.{os.getpid()}.part.mp4")
            partial.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "slow" and first:
            time.sleep(SLOW_S)
        until_s = time.monotonic() + SLOW_S
        while what == "both" and len(read_notes(self.notes.parent, "loaded")) < 2:
            if time.monotonic() > until_s:
                raise ValueError("the other worker did not start")
            time.sleep(0.02)


class LeavingRenderer(FakeRenderer):
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        note(self.notes, "went", "tidily")


def note(folder: Path, name: str, line: str) -> None:
    """Appends a line, in one write, so that workers do not mix theirs."""
    with (folder / name).open("a") as opened:
        opened.write(line + "\n")


def read_notes(folder: Path, name: str) -> list[str]:
    path = folder / "notes" / name
    return path.read_text().splitlines() if path.exists() else []
