"""What a viewer sees of the trained decoder: mouths that open, lids that shut, no seams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vasa_cli.config import RenderOptions
from vasa_cli.geometry import EXPLICIT, N_DYNAMICS, N_HEAD_POSE
from vasa_cli.models.fields import face_height
from vasa_cli.motion import Motion, perform
from vasa_cli.pipeline import Portrait, Renderer
from vasa_cli.placement import place

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PORTRAITS = ("portrait.jpg", "hopper.jpg")


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(device="cpu")


def held(**values: float) -> Motion:
    """One frame of motion: degrees of yaw, pitch or roll, or explicit dynamics, by name."""
    pose, dynamics = np.zeros((1, N_HEAD_POSE)), np.zeros((1, N_DYNAMICS))
    for name, value in values.items():
        if name in EXPLICIT:
            dynamics[0, EXPLICIT.index(name)] = value
        else:
            pose[0, ("yaw", "pitch", "roll").index(name)] = value
    return Motion(pose, dynamics)


def shown(
    renderer: Renderer, name: str, motion: Motion, *, size: int = 384, frame: str = "face"
) -> tuple[np.ndarray, np.ndarray]:
    """One frame (H, W, 3) in 0 to 1, and its points (478, 2) in pixels of a square frame."""
    options = RenderOptions(size=size, frame=frame)  # type: ignore[arg-type]
    portrait: Portrait = renderer.read_portrait(EXAMPLES / name, options)
    placement = place(portrait.picture, portrait.window, options)
    picture = next(iter(renderer.draw(portrait, [motion], placement)))
    points = perform(motion, portrait.code, renderer.models.geometry)[0]
    return picture / 255.0, (points[:, :2] + 1) / 2 * size


def around(picture: np.ndarray, points: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
    """The pixels (n, 3) of the box that holds some landmarks."""
    low = np.floor(points[list(index)].min(0)).astype(int)
    high = np.ceil(points[list(index)].max(0)).astype(int) + 1
    return picture[low[1] : high[1], low[0] : high[0]].reshape(-1, 3)


INNER = (13, 14, 81, 311, 178, 402)  # the middle of what opens
IRISES = {"left": (468, 469, 470, 471, 472), "right": (473, 474, 475, 476, 477)}


def test_a_shut_mouth_opens_onto_more_than_skin(renderer: Renderer) -> None:
    picture, points = shown(renderer, "hopper.jpg", held(mouth_open=3.0))
    brightness = around(picture, points, INNER).mean(1)
    cheek = around(picture, points, (205, 50, 207))
    assert np.percentile(brightness, 5) < 0.6 * cheek.mean()  # dark somewhere
    assert np.ptp(np.percentile(brightness, [5, 95])) > 0.15  # and teeth, tongue or light


def test_teeth_of_a_smile_stay_when_it_opens_and_go_when_it_shuts(renderer: Renderer) -> None:
    lips = (0, 17, 37, 267, 84, 314)
    whiteness = {}
    for value in (1.5, 0.0):
        picture, points = shown(renderer, "portrait.jpg", held(mouth_open=value))
        inside, outside = (around(picture, points, index) for index in (INNER, lips))
        whiteness[value] = np.percentile(inside[:, 2], 75) - np.median(outside[:, 2])  # blue
    assert whiteness[1.5] > 0.08
    assert whiteness[0.0] < 0.5 * whiteness[1.5]


@pytest.mark.parametrize("name", PORTRAITS)
def test_shut_lids_hide_the_iris(renderer: Renderer, name: str) -> None:
    wide, points = shown(renderer, name, held())
    shut, lowered = shown(renderer, name, held(lid_left=-8.0, lid_right=-8.0))
    for index in IRISES.values():
        before, after = around(wide, points, index), around(shut, lowered, index)
        assert after.mean() > 1.15 * before.mean()  # skin is brighter than iris and pupil


@pytest.mark.parametrize("name", PORTRAITS)
@pytest.mark.parametrize("pose", [{"yaw": 20.0}, {"yaw": -20.0}, {"pitch": 15.0}, {"pitch": -15.0}])
def test_a_turned_head_is_whole(renderer: Renderer, name: str, pose: dict[str, float]) -> None:
    straight, _ = shown(renderer, name, held())
    turned, _ = shown(renderer, name, held(**pose))
    assert np.abs(turned - straight).mean() > 0.01  # it turned

    def steepest(picture: np.ndarray) -> float:
        rows, columns = (np.abs(np.diff(picture.mean(2), axis=k)) for k in (0, 1))
        return max(np.percentile(rows, 99.9), np.percentile(columns, 99.9))

    assert steepest(turned) < 1.25 * steepest(straight)  # nothing is torn


@pytest.mark.parametrize("name", PORTRAITS)
def test_the_photo_around_a_moved_head_has_no_seam(renderer: Renderer, name: str) -> None:
    options = RenderOptions(size=480, frame="photo")
    portrait = renderer.read_portrait(EXAMPLES / name, options)
    placement = place(portrait.picture, portrait.window, options)
    frame, _ = shown(renderer, name, held(yaw=15.0, roll=8.0), size=480, frame="photo")
    left, top, side = placement.left, placement.top, placement.shown
    steps = []
    for axis, start, length in ((1, left, placement.width), (0, top, placement.height)):
        change = np.abs(np.diff(frame.mean(2), axis=axis)).mean(1 - axis)  # a line's mean step
        for border in (start, start + side):
            if 8 < border < length - 9:
                beside = np.r_[change[border - 8 : border - 2], change[border + 2 : border + 8]]
                steps.append((change[border - 1 : border + 1].max(), beside.max()))
    assert steps, "the square reaches beyond the photo everywhere: nothing to see"
    for at_seam, nearby in steps:
        assert at_seam <= 1.1 * nearby + 0.002


def test_a_mouth_is_drawn_as_large_as_its_frame(renderer: Renderer) -> None:
    """At 1024 pixels edges of lips and teeth are finer than at 384 enlarged."""

    def fineness(size: int) -> float:
        picture, points = shown(renderer, "portrait.jpg", held(mouth_open=1.0), size=size)
        low, high = (f(points[[61, 291, 0, 17]], 0).astype(int) for f in (np.min, np.max))
        mouth = picture[low[1] : high[1], low[0] : high[0]].mean(2)
        return float(np.abs(np.diff(mouth, axis=0)).mean()) * size

    assert fineness(1024) > 1.05 * fineness(256)


def test_the_face_keeps_its_height_when_it_speaks(renderer: Renderer) -> None:
    import torch

    portrait = renderer.read_portrait(EXAMPLES / "portrait.jpg", RenderOptions())
    heights = [
        float(
            face_height(
                torch.from_numpy(
                    perform(held(mouth_open=v), portrait.code, renderer.models.geometry)
                )
            )[0]
        )
        for v in (0.0, 3.0)
    ]
    assert 1.0 <= heights[1] / heights[0] < 1.2  # the jaw drops, the skull stays
