"""`vasa evaluate dub`: its figures know lips that follow from lips that do not."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import run_vasa as run
from tests.films import moved, nothing, photo, write_film
from tests.test_video import ffmpeg, tone
from vasa_cli import evaluate_dub
from vasa_cli.config import RenderOptions
from vasa_cli.errors import InputError
from vasa_cli.geometry import N_DYNAMICS
from vasa_cli.motion import MOUTH_OPEN, Motion
from vasa_cli.pipeline import Renderer

N_FRAMES = 10
QUICK = ("--steps", 1, "--guidance-audio", 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip with sound, two without, and one without a face all through."""
    folder = tmp_path_factory.mktemp("clips")
    sound = tone(folder / "tone.wav", duration_s=0.4)
    frames = [moved(photo("hopper.jpg"), right=0.5 * k) for k in range(N_FRAMES)]
    write_film(folder / "a.mp4", frames, sound=sound)
    write_film(folder / "gap.mp4", [*frames[:4], *nothing(3), *frames[7:]], sound=sound)
    write_film(folder / "mute.mp4", frames[:4])
    silence = folder / "silence.wav"
    ffmpeg("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "0.4", silence)
    write_film(folder / "silent.mp4", frames, sound=silence)
    return folder


def test_lips_that_follow_what_is_wanted_are_known(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opening(*ignored: object) -> Motion:
        dynamics = np.zeros((N_FRAMES, N_DYNAMICS))
        dynamics[:, MOUTH_OPEN] = 3 * np.sin(np.linspace(0, np.pi, N_FRAMES)) ** 2
        return Motion(np.zeros((N_FRAMES, 6)), dynamics, Fraction(25))

    monkeypatch.setattr(evaluate_dub, "spoken", opening)
    renderer = Renderer(device="cpu")
    clip = folder / "a.mp4"
    row = evaluate_dub.measure(renderer, clip, clip, RenderOptions())
    assert row is not None and row["drawn"] > 0.9 and row["foreign"] == row["drawn"]
    assert not row["sampled"] > 0.9  # the filmed lips stand still
    assert row["cpu_ms_a_frame"] > 0
    said: list[str] = []
    figures = evaluate_dub.evaluate(
        sorted(folder.glob("*.mp4")), renderer, RenderOptions(), tell=said.append
    )
    assert set(figures) == {"mean", "a.mp4"} and figures["mean"].keys() == row.keys()
    assert any("left out gap.mp4: it is cut, or its face is not seen" in line for line in said)


@pytest.mark.parametrize("name", ["mute.mp4", "silent.mp4"])
def test_clips_without_sound_are_nothing_to_measure(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match="none of 1 clips has a sound and one shot of a face"):
        evaluate_dub.evaluate([folder / name], Renderer(device="cpu"), RenderOptions())


def test_the_command_tells_figures(folder: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("a.mp4\n")
    result = run("evaluate", "dub", "--data", folder, "--list", names, *QUICK, "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert set(told) == {"mean", "a.mp4"} and told["mean"]["cpu_ms_a_frame"] > 0
