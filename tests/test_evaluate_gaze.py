"""`vasa evaluate gaze`: its figures know eyes that rest on the camera from eyes that look about."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import run_vasa as run
from tests.films import EXAMPLES, nothing, write_film
from tests.test_video import tone
from vasa_cli import evaluate_gaze
from vasa_cli.config import RenderOptions
from vasa_cli.errors import InputError
from vasa_cli.evaluate_gaze import LEAST_COUNTED, MOST_TURNED_DEG, Row, evaluate, gaze_of, measure
from vasa_cli.pipeline import Renderer
from vasa_cli.shown import Series

N_FRAMES = 30


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(device="cpu")


def series(**given: np.ndarray) -> Series:
    """A face that looks straight ahead with open eyes, but for what is given."""
    names = ("yaw", "pitch", "roll", "gaze_yaw", "gaze_pitch")
    return {name: np.zeros(N_FRAMES) for name in names} | {"eye_open": np.ones(N_FRAMES)} | given


def judged(
    monkeypatch: pytest.MonkeyPatch, renderer: Renderer, before: Series, after: Series
) -> Row | None:
    """The figures of a film whose two versions an instrument reads so."""
    monkeypatch.setattr(evaluate_gaze, "edit", lambda *args, **how: None)
    film = Path("film.mp4")
    return measure(renderer, film, lambda path: before if path == film else after)


def test_a_gaze_is_that_of_head_and_eyes_together(
    monkeypatch: pytest.MonkeyPatch, renderer: Renderer
) -> None:
    turning = 10 * np.sin(np.arange(N_FRAMES) / 2)
    before = series(yaw=turning, gaze_yaw=turning)
    after = series(yaw=turning, gaze_yaw=3 - turning, gaze_pitch=np.where(turning > 0, 2.0, -2.0))
    assert np.allclose(gaze_of(before)[:, 0], 2 * turning)
    row = judged(monkeypatch, renderer, before, after)
    assert row is not None
    assert row["filmed_across"] > 10 and row["filmed_up_down"] == 0
    assert row["edited_across"] < 0.1  # a constant is the instrument's own
    assert 1 < row["edited_up_down"] <= 4 and row["counted"] == 1


def test_eyes_that_look_up_in_a_tilted_head_look_aside() -> None:
    tilted = series(roll=np.full(N_FRAMES, 90.0), gaze_pitch=np.full(N_FRAMES, 10.0))
    assert np.allclose(np.abs(gaze_of(tilted)[:, 0]), 10) and np.allclose(gaze_of(tilted)[:, 1], 0)


def test_shut_eyes_and_heads_far_aside_are_not_counted(
    monkeypatch: pytest.MonkeyPatch, renderer: Renderer
) -> None:
    odd = np.arange(N_FRAMES) % 5 == 0
    for name, value in (("eye_open", 0.1), ("yaw", MOST_TURNED_DEG + 1), ("pitch", np.nan)):
        before = series()
        before[name] = np.where(odd, value, before[name])
        after = series(gaze_yaw=np.where(odd, 30.0, 0.0))
        row = judged(monkeypatch, renderer, before, after)
        assert row is not None
        assert row["edited_across"] == 0 and row["counted"] == pytest.approx(0.8)
    few = np.arange(N_FRAMES) < LEAST_COUNTED - 1
    assert judged(monkeypatch, renderer, series(pitch=np.where(few, 0, np.nan)), series()) is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, renderer: Renderer) -> Path:
    """A film of somebody who looks left and right, and one without a face."""
    folder = tmp_path_factory.mktemp("films")
    timeline = folder / "looks.json"
    looks = [{"time": 0.4 * k, "value": [(-1) ** k * 18, 0], "ease": "step"} for k in range(4)]
    timeline.write_text(json.dumps({"gaze": looks}))
    options = RenderOptions(
        size=256,
        num_steps=1,
        crf=10,
        provenance="off",
        timeline=timeline,
        gaze_wander=0.0,
        head_motion=0.0,
        blink=0.0,
    )
    heard = tone(folder / "tone.wav", duration_s=1.2)
    renderer.render(EXAMPLES / "portrait.jpg", heard, folder / "looks.mp4", options=options)
    write_film(folder / "nobody.mp4", nothing(4))
    return folder


def test_eyes_that_look_about_are_brought_to_rest(folder: Path, renderer: Renderer) -> None:
    from vasa_cli.shown import own_instrument

    said: list[str] = []
    films = sorted(folder.glob("*.mp4"))
    figures = evaluate(films, renderer, own_instrument(renderer.models.reader), tell=said.append)
    assert set(figures) == {"mean", "median", "looks.mp4"}
    row = figures["looks.mp4"]
    assert row["filmed_across"] > 8 and row["edited_across"] < 0.5 * row["filmed_across"]
    assert row == figures["mean"] == figures["median"]
    assert any("left out: " in line and "nobody.mp4" in line for line in said)


def test_films_without_a_face_are_nothing_to_measure(folder: Path, renderer: Renderer) -> None:
    with pytest.raises(InputError, match="the eyes of none of 1 films could be measured"):
        evaluate([folder / "nobody.mp4"], renderer, lambda path: series())


def test_the_command_tells_figures(folder: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("looks.mp4\n")
    asked = ("evaluate", "gaze", "--data", folder, "--list", names, "--preview", 1)
    result = run(*asked, "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert set(told) == {"mean", "median", "looks.mp4"}
    text = run(*asked).stdout
    assert "mean edited_across" in text and "at most 2" in text and "vasa's own encoder" in text
