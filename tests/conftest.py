"""Fixtures that more than one test file uses."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Callable

import pytest
import torch
from click.testing import CliRunner, Result

from vasa_cli.cli.main import main
from vasa_cli.config import ProgressCallback, RenderOptions, RenderResult
from vasa_cli.face import FaceReader
from vasa_cli.loading import load_reader
from vasa_cli.weights import WEIGHTS_NAMES, find_weights_dir, save_weights, write_manifest


@pytest.fixture(scope="session")
def reader() -> FaceReader:
    """The trained networks that read faces."""
    return load_reader(find_weights_dir(), torch.device("cpu"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def fake_weights_dir(tmp_path: Path) -> Path:
    """A whole weights folder in the real format, with three numbers in place of each network."""
    folder = tmp_path / "fake-weights"
    for number, name in enumerate(WEIGHTS_NAMES):
        tensors = {"layer.weight": torch.arange(3.0) + number}
        path = folder / f"{name}.safetensors"
        save_weights(path, tensors, name=name, dims={"hidden_dim": 3, "kinds": ["a", "b"]})
    origins = {name: f"made up for {name}" for name in WEIGHTS_NAMES}
    write_manifest(folder, version="0.0.1", licence="Apache-2.0", origins=origins)
    return folder


def run_vasa(*arguments: object) -> Result:
    """The real command, in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="vasa")


@dataclasses.dataclass
class LibraryCall:
    """What the command handed to the library, and what the library does then."""

    loaded: dict[str, Any] | None = None
    photo: Path | None = None
    speech: Path | None = None
    output: Path | None = None
    options: RenderOptions | None = None
    progress: ProgressCallback | None = None
    act: Callable[[], None] = lambda: None
    warnings: tuple[str, ...] = ()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> LibraryCall:
    """A library that renders nothing and remembers how it was called."""
    seen = LibraryCall()

    class Renderer:
        def __init__(self, **loaded: Any) -> None:
            seen.loaded = loaded

        def render(
            self,
            photo: Path,
            speech: Path,
            output: Path,
            *,
            options: RenderOptions,
            progress: ProgressCallback | None,
        ) -> RenderResult:
            seen.photo, seen.speech, seen.output = photo, speech, output
            seen.options, seen.progress = options, progress
            seen.act()
            return RenderResult(
                output=output,
                n_frames=50,
                fps=options.fps,
                width=options.size,
                height=options.size,
                duration_s=2.0,
                elapsed_s=4.0,
                seed=options.seed,
                device="cpu",
                frames_sha256="ab",
                warnings=seen.warnings,
            )

    module = ModuleType("vasa_cli.pipeline")
    module.Renderer = Renderer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vasa_cli.pipeline", module)
    return seen


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A photo and a speech as far as the command looks into them."""
    photo, speech = tmp_path / "photo.png", tmp_path / "speech.wav"
    photo.write_bytes(b"picture")
    speech.write_bytes(b"sound")
    return photo, speech
