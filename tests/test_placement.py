"""Which part of the animated square is the frame: only what lies inside the photo."""

from __future__ import annotations

import numpy as np
import pytest

from vasa_cli.config import RenderOptions
from vasa_cli.placement import LEAST_VIEW, place, view_inside
from vasa_cli.squares import Window, cut_square


def photo(width: int, height: int) -> np.ndarray:
    """Every pixel says where it is; none is 0."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 200 // width + 20, y * 200 // height + 20, 0 * x + 99], -1).astype(
        np.uint8
    )


@pytest.mark.parametrize("size", [256, 512])
def test_a_square_inside_the_photo_is_the_frame(size: int) -> None:
    placement = place(photo(600, 500), Window(300, 250, 200), RenderOptions(size=size))
    assert (placement.side, placement.left, placement.top) == (size, 0, 0)
    square = np.random.default_rng(0).integers(0, 255, (size, size, 3)).astype(np.uint8)
    assert np.array_equal(placement.finish(square), square)


@pytest.mark.parametrize(
    "window", [Window(200, 150, 220), Window(350, 200, 180), Window(210, 330, 190)]
)
def test_nothing_beyond_the_photo_is_shown(window: Window) -> None:
    picture = photo(420, 400)
    left, top, side = view_inside(picture, window)
    assert min(left, top) >= 0 and left + side <= 420 and top + side <= 400
    assert left >= window.x - window.half and left + side <= window.x + window.half + 1e-9
    placement = place(picture, window, RenderOptions(size=256))
    frame = placement.finish(cut_square(picture, window, placement.side)).astype(float)
    assert frame.shape == (256, 256, 3)
    # a smeared edge would repeat its last row or column
    for axis in (0, 1):
        steps = np.diff(frame[..., 1 - axis], axis=axis).mean(1 - axis)
        assert (np.add.reduceat(steps, np.arange(0, len(steps), 4)) > 0).all()
    # and the frame shows what the view says, to a pixel or two of the photo
    assert abs((frame[0, 0, 0] - 20) / 200 * 420 - left) < 5
    assert abs((frame[-1, -1, 1] - 20) / 200 * 400 - (top + side)) < 5


def test_a_face_that_the_photo_cuts_off_is_still_shown() -> None:
    window = Window(30, 200, 180)
    left, _, side = view_inside(photo(400, 400), window)
    assert side >= 2 * window.half * LEAST_VIEW
    assert left <= window.x <= left + side
    tiny = view_inside(photo(100, 400), Window(50, 200, 180))
    assert tiny[2] == pytest.approx(360 * LEAST_VIEW)
