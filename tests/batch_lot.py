"""A folder of made-up jobs for the tests of `vasa batch`."""

from __future__ import annotations

import json
import sys
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable

from tests.fake_renderer import read_notes

# A process of its own, for tests that kill it: the real command with the fake renderer.
PROGRAM = (
    "import sys, vasa_cli.cli.batch as batch\n"
    "from tests.fake_renderer import FakeFactory\n"
    "batch.PipelineFactory = FakeFactory\n"
    "from vasa_cli.cli.main import main\n"
    "main(sys.argv[1:], prog_name='vasa')\n"
)


@dataclass(frozen=True)
class Lot:
    """Photos that say what their job does, two sounds, and a weights folder of no weights."""

    folder: Path

    @property
    def weights_dir(self) -> Path:
        return self.folder / "weights"

    def photo(self, what: str = "good", name: str = "") -> Path:
        path = self.folder / f"{name or what.replace(' ', '-')}.png"
        path.write_text(what)
        return path

    def manifest(self, jobs: Iterable[dict[str, Any]], name: str = "jobs.jsonl") -> Path:
        """Writes jobs as JSON lines, of good.png and speech.wav unless they say other."""
        path = self.folder / name
        filled = ({"photo": "good.png", "audio": "speech.wav"} | job for job in jobs)
        path.write_text("".join(json.dumps(job) + "\n" for job in filled))
        return path

    def arguments(self, *arguments: object) -> list[str]:
        """`vasa batch ...` on the CPU with this lot's weights."""
        common = ["--weights-dir", self.weights_dir, "--device", "cpu"]
        return ["batch", *map(str, arguments), *map(str, common)]

    def command(self, *arguments: object) -> list[str]:
        """The same as a process to start."""
        return [sys.executable, "-c", PROGRAM, *self.arguments(*arguments)]

    def sidecar(self, name: str) -> dict[str, Any]:
        plain: dict[str, Any] = json.loads((self.folder / f"{name}.mp4.json").read_text())
        return plain

    def rendered(self) -> list[str]:
        """The videos that were begun, in order of beginning."""
        return [line.split()[1] for line in read_notes(self.weights_dir, "rendered")]

    def loaded(self) -> list[list[str]]:
        """Each worker's pid, threads and OMP_NUM_THREADS."""
        return [line.split() for line in read_notes(self.weights_dir, "loaded")]

    def forget(self) -> None:
        """Removes the notes of earlier runs."""
        for path in (self.weights_dir / "notes").glob("*"):
            path.unlink()

    def litter(self) -> list[str]:
        """Hidden files, which only an interrupted write leaves."""
        return [path.name for path in self.folder.rglob(".*")]


def make_lot(folder: Path) -> Lot:
    lot = Lot(folder)
    (lot.weights_dir / "notes").mkdir(parents=True)
    plain = {"format": 1, "version": "0.0.1", "files": {}}
    (lot.weights_dir / "manifest.json").write_text(json.dumps(plain))
    write_sound(folder / "speech.wav", 2.0)
    lot.photo()
    return lot


def write_sound(path: Path, duration_s: float) -> None:
    with wave.open(str(path), "wb") as opened:
        opened.setnchannels(1)
        opened.setsampwidth(2)
        opened.setframerate(8000)
        opened.writeframes(bytes(range(1, 201)) * round(duration_s * 80))
