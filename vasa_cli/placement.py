"""Where the animated square goes in the finished frame.

As much of it is the frame as lies inside the photo, or it is blended back into the whole photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from vasa_cli.config import RenderOptions
from vasa_cli.squares import Window

SOFT_EDGE = 0.12  # share of the square's side over which it fades into the photo
SMALLEST_SIDE = 64  # pixels; a smaller square is drawn at this size and shrunk
OVERHANG = 1.03  # a square that is larger than what of it is photo by no more is shown as it is
LEAST_VIEW = 0.5  # share of the square's side that is shown at least, whatever of it is photo


@dataclass(frozen=True, eq=False)
class Placement:
    """How a drawn square (side, side, 3) becomes a frame (height, width, 3)."""

    width: int
    height: int
    side: int
    window: Window  # what of the photo the square shows, to the pixel
    # (height, width, 3) uint8; None where the square is the frame
    background: np.ndarray | None = None
    left: int = 0
    top: int = 0
    shown: int = 0  # pixels, side of the square in the frame

    def finish(self, square: np.ndarray) -> np.ndarray:
        """The finished frame (height, width, 3), C-contiguous uint8."""
        if self.background is None:
            rows = slice(-self.top, self.height - self.top)
            return np.ascontiguousarray(square[rows, -self.left : self.width - self.left])
        if self.shown != self.side:
            square = np.asarray(
                Image.fromarray(square).resize((self.shown, self.shown), Image.Resampling.BOX)
            )
        rows = slice(max(0, self.top), min(self.height, self.top + self.shown))
        columns = slice(max(0, self.left), min(self.width, self.left + self.shown))
        inside = (
            slice(rows.start - self.top, rows.stop - self.top),
            slice(columns.start - self.left, columns.stop - self.left),
        )
        frame = self.background.copy()
        behind = frame[rows, columns].astype(np.float32)
        alpha = soft_edge(self.shown)[inside][..., None]
        frame[rows, columns] = np.rint(behind + (square[inside] - behind) * alpha).astype(np.uint8)
        return frame


def soft_edge(side: int) -> np.ndarray:
    """(side, side) float32: 0 at a square's border, 1 from SOFT_EDGE inward, smooth between."""
    line = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / (side * SOFT_EDGE)
    ramp = np.clip(line, 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return (ramp[:, None] * ramp[None]).astype(np.float32)


def even(length: float) -> int:
    """The nearest even number of pixels, as H.264 wants, at least 2."""
    return max(2, 2 * round(length / 2))


def view_inside(picture: np.ndarray, window: Window) -> tuple[float, float, float]:
    """The largest square (left, top, side) in pixels that lies in window and picture.

    It stays as near to the window's middle as it can, and is never smaller than LEAST_VIEW of it,
    so that the face is in it even where the photo cuts it off.
    """
    spans = []
    for middle, length in ((window.x, picture.shape[1]), (window.y, picture.shape[0])):
        spans.append((max(middle - window.half, 0.0), min(middle + window.half, float(length))))
    side = max(min(high - low for low, high in spans), 2 * window.half * LEAST_VIEW)
    starts = []
    for middle, (low, high) in zip((window.x, window.y), spans):
        start = min(max(middle - side / 2, low), max(high - side, low))
        starts.append(min(max(start, middle - window.half), middle + window.half - side))
    return starts[0], starts[1], side


def place_view(picture: np.ndarray, window: Window, size: int) -> Placement:
    """What of the square lies inside the photo, as a frame of so many pixels a side.

    Beyond a tightly cut photo there is nothing to show but its smeared edge.
    """
    left, top, side = view_inside(picture, window)
    if 2 * window.half < OVERHANG * side:
        return Placement(size, size, size, window)
    drawn = max(size, even(2 * window.half / side * size))
    scale = drawn / (2 * window.half)
    across = min(max(round((left - window.x + window.half) * scale), 0), drawn - size)
    down = min(max(round((top - window.y + window.half) * scale), 0), drawn - size)
    return Placement(size, size, drawn, window, left=-across, top=-down)


def place(picture: np.ndarray, window: Window, options: RenderOptions) -> Placement:
    """The placement that the options ask for."""
    if options.frame == "face":
        return place_view(picture, window, even(options.size))
    scale = options.size / max(picture.shape[:2])
    height, width = (even(n * scale) for n in picture.shape[:2])
    across, down = width / picture.shape[1], height / picture.shape[0]
    background = np.asarray(
        Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
    )
    shown = max(8, round(2 * window.half * across))
    left, top = round((window.x - window.half) * across), round((window.y - window.half) * down)
    window = Window((left + shown / 2) / across, (top + shown / 2) / down, shown / across / 2)
    side = max(shown, SMALLEST_SIDE)
    return Placement(width, height, side, window, background, left, top, shown)
