"""`vasa plot`: what is in the picture, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import run_vasa as run
from tests.test_pipeline import sound
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE
from vasa_cli.models.audio_encoder import CLASSES, N_CLASSES
from vasa_cli.motion import LIDS, MOUTH_OPEN, Motion
from vasa_cli.motion_file import Recording, load_motion, save_motion
from vasa_cli.plot import BLUE, HEADER, LEFT, PANEL_HEIGHT, SHADE, TOP, Span, heard_spans, ticks


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Four seconds: the mouth opens in the second half, the eyes blink at 1.0 s."""
    motion = Motion(np.zeros((100, N_HEAD_POSE)), np.zeros((100, N_DYNAMICS)))
    motion.dynamics[50:, MOUTH_OPEN] = 2
    motion.dynamics[:, MOUTH_OPEN + 1] = -0.2  # so that the width's curve does not hide it
    motion.dynamics[24:27, LIDS] = -4
    save_motion(tmp_path / "talk.safetensors", Recording(motion))
    return tmp_path / "talk.safetensors"


def plotted(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def like(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.abs(picture - colour).max(-1) < 40


def test_curves_are_where_their_values_are(talk: Path, tmp_path: Path) -> None:
    result = run("plot", talk)
    picture = plotted(tmp_path / "talk.png")
    height, width = picture.shape[:2]
    assert result.stdout == f"{tmp_path / 'talk.png'}: {width}x{height}\n"
    mouth = like(picture, BLUE)[TOP + HEADER : TOP + HEADER + PANEL_HEIGHT]
    rows = [np.flatnonzero(mouth[:, LEFT + x]).mean() for x in (100, width - LEFT - 100)]
    assert rows[0] > 0.8 * PANEL_HEIGHT and rows[1] < 0.2 * PANEL_HEIGHT  # shut, then open
    shaded = np.flatnonzero(like(picture, SHADE).sum(0) > PANEL_HEIGHT / 2)
    blink_s = (shaded.mean() - LEFT) / (width - LEFT - 16) * 4
    assert blink_s == pytest.approx(25.5 / 25, abs=0.03)


def test_the_sound_adds_its_wave_above(talk: Path, tmp_path: Path) -> None:
    speech = sound(tmp_path / "s.wav", 4.0)
    run("plot", talk, "-o", tmp_path / "without.png")
    assert run("plot", talk, "--speech", speech, "-o", tmp_path / "with.png").exit_code == 0
    without, heard = (plotted(tmp_path / f"{name}.png") for name in ("without", "with"))
    assert len(heard) > len(without) + 80
    dark = (heard[TOP + 2 : TOP + 88, LEFT:-16] < 80).all(-1).sum(0)
    t = (np.arange(len(dark)) + 0.5) / len(dark) * 4
    loud = np.sin(2 * np.pi * 3 * t) > 0.1  # as the sound was made
    quiet = np.sin(2 * np.pi * 3 * t) < -0.1
    assert dark[loud].mean() > 60 and dark[quiet].mean() < 5


def test_a_part_is_drawn_with_its_own_times(talk: Path, tmp_path: Path) -> None:
    run("plot", talk, "--from", 0.5, "--to", 1.5, "-o", tmp_path / "part.png")
    picture = plotted(tmp_path / "part.png")
    shaded = np.flatnonzero(like(picture, SHADE).sum(0) > PANEL_HEIGHT / 2)
    middle = (shaded.mean() - LEFT) / (picture.shape[1] - LEFT - 16)
    assert middle == pytest.approx(25.5 / 25 - 0.5, abs=0.03)


def test_posteriors_become_spans() -> None:
    phones = np.zeros((10, N_CLASSES))
    names = ["silence"] * 2 + ["bilabial"] * 3 + ["open"] * 4 + ["velar"]
    phones[np.arange(10), [CLASSES.index(name) for name in names]] = 1
    found = heard_spans(phones, feature_fps=50)
    assert found == [Span(0.04, 0.1, "p b m"), Span(0.1, 0.18, "open")]


@pytest.mark.parametrize(
    ("low", "high", "n", "expected"),
    [
        (0, 10, 5, [0, 2, 4, 6, 8, 10]),
        (-0.31, 0.29, 4, [-0.2, 0, 0.2]),
        (3, 5, 4, [3, 3.5, 4, 4.5, 5]),
    ],
)
def test_ticks_are_round(low: float, high: float, n: int, expected: list[float]) -> None:
    assert ticks(low, high, n) == pytest.approx(expected)


@pytest.mark.parametrize("n_frames", [1, 2, 9000])
def test_any_length_can_be_drawn(tmp_path: Path, n_frames: int) -> None:
    rng = np.random.default_rng(0)
    motion = Motion(
        rng.normal(size=(n_frames, N_HEAD_POSE)), rng.normal(size=(n_frames, N_DYNAMICS))
    )
    save_motion(tmp_path / "m.safetensors", Recording(replace(motion, fps=Fraction(30))))
    result = run("plot", tmp_path / "m.safetensors")
    assert result.exit_code == 0, result.stderr
    assert plotted(tmp_path / "m.png").shape[1] <= 12_100


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["NONE"], 3, "does not exist"),
        (["SOUND", "-o", "OUT"], 3, "is not a motion file"),
        (["TALK", "-o", "OUT.jpg"], 2, "vasa writes plots as PNG"),
        (["TALK", "--speech", "NONE", "-o", "OUT"], 3, "sound"),
        (["TALK", "--from", "9", "-o", "OUT"], 2, "it lasts 4.00 s"),
        (["TALK", "--from", "2", "--to", "1", "-o", "OUT"], 2, "nothing of"),
        (["OTHER", "-o", "OUT"], 3, "other geometry weights"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    talk: Path, tmp_path: Path, arguments: list[str], exit_code: int, words: str
) -> None:
    other = tmp_path / "other.safetensors"
    save_motion(other, replace(load_motion(talk), basis="ab" * 32))
    names = {"TALK": talk, "OTHER": other, "SOUND": sound(tmp_path / "s.wav", 0.3)}
    names |= {"NONE": tmp_path / "none.safetensors", "OUT": tmp_path / "out.png"}
    names |= {"OUT.jpg": tmp_path / "out.jpg"}
    result = run("plot", *(names.get(word, word) for word in arguments))
    assert (result.exit_code, result.stdout) == (exit_code, ""), result.stderr
    assert words in " ".join(result.stderr.split())
    assert not list(tmp_path.glob("*.png"))


def test_a_plot_that_exists_needs_force(talk: Path, tmp_path: Path) -> None:
    (tmp_path / "talk.png").write_bytes(b"mine")
    assert run("plot", talk).exit_code == 2
    assert (tmp_path / "talk.png").read_bytes() == b"mine"
    assert run("plot", talk, "--force").exit_code == 0
