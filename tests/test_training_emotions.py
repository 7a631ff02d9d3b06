"""Emotions learned from labels: what is known of faces made up for it comes back."""

from __future__ import annotations

import numpy as np
import pytest

from vasa_cli.control_values import EMOTIONS
from vasa_cli.errors import InputError
from vasa_cli.geometry import EXPLICIT, N_DYNAMICS, Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.training import emotions as learning
from vasa_cli.training.emotions import (
    BLENDSHAPES,
    LIDS,
    RECIPES,
    SIGNS,
    Frames,
    likeliest,
    lip_gaps,
    mirror_matrix,
    sign_matrix,
)
from vasa_cli.weights import find_weights_dir


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


@pytest.fixture(scope="module")
def frames(geometry: Geometry) -> Frames:
    """Faces that move at random, whose smile scores are the height of their lip corners."""
    rng = np.random.default_rng(0)
    dynamics = rng.normal(size=(4000, N_DYNAMICS))
    scores = rng.normal(size=(4000, len(BLENDSHAPES))) * 0.05
    corners = dynamics[:, EXPLICIT.index("corner_lift")]
    for side in ("Left", "Right"):
        scores[:, BLENDSHAPES.index(f"mouthSmile{side}")] += 0.2 * corners
    return Frames(dynamics, scores)


def test_the_order_of_the_scores_is_the_teachers() -> None:
    assert len(BLENDSHAPES) == len(set(BLENDSHAPES)) == 52
    assert BLENDSHAPES[0] == "_neutral" and BLENDSHAPES[25] == "jawOpen"
    assert list(BLENDSHAPES[1:]) == sorted(BLENDSHAPES[1:])  # as MediaPipe gives them


@pytest.mark.parametrize("name", RECIPES)
def test_a_direction_shows_the_signs_of_its_recipe(
    name: str, frames: Frames, geometry: Geometry
) -> None:
    recipe = RECIPES[name]
    direction = likeliest(recipe, frames, geometry)
    shown = dict(zip([*SIGNS, *LIDS], sign_matrix(geometry) @ direction))
    for sign, wanted in recipe.signs.items():
        if abs(wanted) >= 10:
            assert shown[sign] * np.sign(wanted) > 0.5 * abs(wanted), sign


@pytest.mark.parametrize("name", RECIPES)
def test_lips_that_meet_and_eyes_that_look_are_left_alone(
    name: str, frames: Frames, geometry: Geometry
) -> None:
    direction = likeliest(RECIPES[name], frames, geometry)
    for still in ("gaze_yaw", "gaze_pitch", "mouth_open"):
        assert direction[EXPLICIT.index(still)] == 0
    assert np.abs(lip_gaps(geometry) @ direction).max() < 0.003  # face heights


def test_a_score_alone_brings_what_moves_with_it(frames: Frames, geometry: Geometry) -> None:
    recipe = learning.Recipe({}, learning.both("mouthSmile", 0.2))
    direction = likeliest(recipe, frames, geometry)
    assert direction[EXPLICIT.index("corner_lift")] > 0.5


def test_mirrored_frames_make_even_directions(frames: Frames, geometry: Geometry) -> None:
    direction = likeliest(RECIPES["surprised"], frames.with_mirrored(geometry), geometry)
    moved = geometry.displacement(direction)
    assert moved[107, 1] == pytest.approx(moved[336, 1], rel=0.1)  # both inner brows


def test_what_moves_evenly_is_its_own_mirror(geometry: Geometry) -> None:
    matrix = mirror_matrix(geometry)
    opening = np.eye(N_DYNAMICS)[EXPLICIT.index("mouth_open")]
    aside = np.eye(N_DYNAMICS)[EXPLICIT.index("gaze_yaw")]
    assert (matrix @ opening)[EXPLICIT.index("mouth_open")] == pytest.approx(1, abs=0.05)
    assert (matrix @ aside)[EXPLICIT.index("gaze_yaw")] == pytest.approx(-1, abs=0.05)


def test_every_emotion_is_learned_and_neutral_is_nothing(
    frames: Frames, geometry: Geometry, monkeypatch: pytest.MonkeyPatch
) -> None:
    smile = np.zeros((30, N_DYNAMICS))
    smile[:, EXPLICIT.index("mouth_width")] = 2.0
    monkeypatch.setattr(learning, "gather", lambda items, geometry: frames)
    monkeypatch.setattr(learning, "smile_pairs", lambda items, geometry: smile)
    told: list[str] = []
    learned = learning.learn([], geometry, report=told.append)
    assert learned.dynamics.shape == (len(EMOTIONS), N_DYNAMICS)
    assert not learned.dynamics[0].any() and learned.tempo[0] == 1
    assert (np.abs(learned.dynamics[1:]).max(1) > 0.1).all()
    assert "30 smiles; cosine with happy" in told[-1]


def test_without_a_clip_there_is_nothing_to_learn_from(geometry: Geometry) -> None:
    with pytest.raises(InputError, match="no clip to learn emotions from"):
        learning.learn([], geometry)
