"""Filmed frames in which one face is moved: only what has to change is drawn anew.

Every frame is its own photo: the decoder takes it with the points that were read in it to the
points that are wanted, and what it draws is blended into the frame where a mask says so. Beyond the
mask the frame keeps its every bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter

from vasa_cli.device_copies import to_device
from vasa_cli.models.decoder import FIELD_SIDE, LOCAL_PARTS, Decoder
from vasa_cli.models.fields import EYE_OUTLINES, Part
from vasa_cli.placement import soft_edge
from vasa_cli.squares import Window, cut_square, to_pixels, to_tensor

LARGEST_SIDE = 1536  # pixels at which a face is drawn at most; resampled twice it takes longer
SMALLEST_SIDE = 64
BOX_MARGIN = 4  # pixels around what a mask shows, for what is resized
MASK_STEP = 4  # pixels of the shown square for one of a mask, or more:
MASK_SIDES = (16, 160)  # at least and at most so many, which are then enlarged
# Outline of the lower face: jaw from ear to ear, back over the cheeks and under the nose.
JAW = (
    *(132, 58, 172, 136, 150, 149, 176, 148, 152),
    *(377, 400, 378, 379, 365, 397, 288, 361),
)
UNDER_NOSE = (425, 327, 2, 98, 205)
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
JAW_MARGIN = 1.10  # the jaw's outline from the nose, so that the cheeks' edge moves with it
BELOW_CHIN = 0.11  # face heights added under the chin: its edge and shadow must not stay behind
FACE_MARGIN = 1.06
# Half axes of the oval around an eye, of those of its outline: lids and their shadow are in it.
EYE_WIDTH, EYE_MARGIN = 1.4, 2.2
EYE_HEIGHT = 0.24  # at least so high, of the distance between the eyes' outer corners
# Of 256 levels about an outline, how much of what is within is seen: none up to half.
_INWARDS = np.clip(np.arange(256) / 127.5 - 1, 0, 1)
RAMP = np.rint(255 * _INWARDS**2 * (3 - 2 * _INWARDS)).astype(int).tolist()
SOFTNESS = {"lower": 0.035, "face": 0.05, "eyes": 0.02}  # of a mask's edge, in face heights


@dataclass(frozen=True)
class Square:
    """Whole pixels of a film's picture in which a face is drawn."""

    left: int
    top: int
    shown: int  # pixels, side in the picture
    side: int  # pixels at which it is drawn

    @property
    def window(self) -> Window:
        """The same square as the decoder's window."""
        half = self.shown / 2
        return Window(self.left + half, self.top + half, half)


def square_around(x: float, y: float, half: float) -> Square:
    """The square of whole pixels around a head, drawn pixel for pixel where that is not too many.

    A large one is rounded to the motion field's cells, by which it is drawn faster.

    Args: its middle and half side in pixels.
    """
    step = FIELD_SIDE if half > 4 * FIELD_SIDE else 2
    shown = max(SMALLEST_SIDE // 2, step * round(2 * half / step))
    side = min(max(shown, SMALLEST_SIDE), LARGEST_SIDE)
    return Square(round(x - shown / 2), round(y - shown / 2), shown, side)


@torch.inference_mode()
def draw(
    decoder: Decoder,
    device: torch.device,
    images: list[np.ndarray],
    squares: list[Square],
    sources: np.ndarray,
    targets: np.ndarray,
    *,
    parts: tuple[str, ...] = LOCAL_PARTS,
    masks: Sequence[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """What each square of frames (H, W, 3) shows once its face has moved: (side, side, 3) uint8.

    Args: squares, all of one `side`; sources and targets (B, 478, 3), points read and points wanted
        in pixels of the picture; parts, those of the face that will be seen; masks (shown, shown)
        uint8 outside the box around which nothing need be drawn, and is black.
    """
    side = squares[0].side
    photos = [cut_square(im, sq.window, side) for im, sq in zip(images, squares)]
    here, there = (
        to_device(
            np.stack([sq.window.to_crop(p) for sq, p in zip(squares, points.astype(np.float64))]),
            device,
        )
        for points in (sources, targets)
    )
    seen = decoder.look(to_tensor(photos, device), here, parts=parts)
    if masks is None:
        return list(to_pixels(decoder.compose(seen, there)))
    wanted = [_drawn_box(mask, side) for mask in masks]
    made = []
    # their sizes differ: on a GPU, too, each is fetched by itself
    for box, part in zip(wanted, decoder.compose_each(seen, there, wanted=wanted)):
        whole = np.zeros((side, side, 3), np.uint8)
        whole[box] = to_pixels(part)[0]
        made.append(whole)
    return made


def _drawn_box(mask: np.ndarray, side: int) -> Part:
    """Rows and columns of a drawing that show under a mask (shown, shown), with a margin."""
    scale = side / len(mask)
    margin = BOX_MARGIN * max(1.0, scale)

    def lines(share: np.ndarray) -> slice:
        seen = _meeting(share, 0, len(share))
        if seen.start == seen.stop:
            return seen
        first, last = seen.start * scale - margin, seen.stop * scale + margin
        return slice(max(0, math.floor(first)), min(side, math.ceil(last)))

    return lines(mask.max(1)), lines(mask.max(0))


def blend(image: np.ndarray, drawn: np.ndarray, mask: np.ndarray, square: Square) -> np.ndarray:
    """A copy of a frame (H, W, 3), what was drawn (side, side, 3) uint8 blended in.

    Where the mask (shown, shown) uint8 is 0 no bit changes, where it is 255 all is new, and nothing
    is computed outside the box around what it shows.
    """
    result = image.copy()
    rows = _meeting(mask.max(1), square.top, image.shape[0])
    columns = _meeting(mask.max(0), square.left, image.shape[1])
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return result
    here = (
        slice(rows.start + square.top, rows.stop + square.top),
        slice(columns.start + square.left, columns.stop + square.left),
    )
    new = _part(drawn, rows, columns, square.shown)
    layers = (Image.fromarray(x) for x in (new, image[here], mask[rows, columns]))
    result[here] = np.asarray(Image.composite(*layers))
    return result


def _meeting(share: np.ndarray, start: int, size: int) -> slice:
    """From the first to the last of a square's lines that are seen and lie in a picture's size."""
    lines = np.flatnonzero(share > 0)
    lines = lines[(lines + start >= 0) & (lines + start < size)]
    return slice(int(lines[0]), int(lines[-1]) + 1) if len(lines) else slice(0, 0)


def _part(drawn: np.ndarray, rows: slice, columns: slice, shown: int) -> np.ndarray:
    """Some rows and columns of a drawing (side, side, 3) as it is shown."""
    scale = len(drawn) / shown
    if scale == 1:
        return drawn[rows, columns]
    box = tuple(k * scale for k in (columns.start, rows.start, columns.stop, rows.stop))
    size = (columns.stop - columns.start, rows.stop - rows.start)
    return np.asarray(Image.fromarray(drawn).resize(size, Image.Resampling.LANCZOS, box=box))


def lower_face_mask(square: Square, *points: np.ndarray) -> np.ndarray:
    """Mouth, jaw and chin of faces (478, 3) in pixels, all of them: (shown, shown) uint8."""
    outlines = []
    for face in points:
        jaw = _about(face[list(JAW), :2], face[2, :2], JAW_MARGIN)
        down = face[152, :2] - face[10, :2]  # as long as the face is high
        low = (jaw - face[2, :2]) @ down / max(float(down @ down), 1e-6)  # share of that height
        deepest = max(float(low.max()), 1e-6)
        jaw = jaw + np.outer(np.clip(low / deepest, 0, 1) * BELOW_CHIN, down)
        outlines.append(np.concatenate([jaw, face[list(UNDER_NOSE), :2]]))
    return _mask(square, outlines, SOFTNESS["lower"] * _height(points[0]))


def face_mask(square: Square, *points: np.ndarray) -> np.ndarray:
    """The whole face inside its oval, of all faces (478, 3) in pixels: (shown, shown) uint8."""
    outlines = [
        _about(face[list(FACE_OVAL), :2], face[[33, 263, 152], :2].mean(0), FACE_MARGIN)
        for face in points
    ]
    return _mask(square, outlines, SOFTNESS["face"] * _height(points[0]))


def eyes_mask(square: Square, *points: np.ndarray) -> np.ndarray:
    """Both eyes with their lids, of all faces (478, 3) in pixels: (shown, shown) uint8."""
    outlines = []
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for face in points:
        across = face[263, :2] - face[33, :2]
        along = across / max(float(np.linalg.norm(across)), 1e-6)
        down = np.array([-along[1], along[0]])
        for outline in EYE_OUTLINES.values():
            corners = face[list(outline), :2]
            middle = corners.mean(0)
            x, y = np.abs((corners - middle) @ along), np.abs((corners - middle) @ down)
            # a shut eye has no height of its own
            tall = max(float(y.max()) * EYE_MARGIN, EYE_HEIGHT / 2 * float(np.linalg.norm(across)))
            wide = float(x.max()) * EYE_WIDTH
            oval = np.outer(wide * np.cos(turn), along) + np.outer(tall * np.sin(turn), down)
            outlines.append(middle + oval)
    return _mask(square, outlines, SOFTNESS["eyes"] * _height(points[0]))


def head_mask(square: Square) -> np.ndarray:
    """All of the square but its soft edge, (shown, shown) uint8."""
    return np.rint(soft_edge(square.shown) * 255).astype(np.uint8)


def _about(outline: np.ndarray, middle: np.ndarray, factor: float) -> np.ndarray:
    return middle + (outline - middle) * factor


def _height(face: np.ndarray) -> float:
    return float(np.linalg.norm(face[10] - face[152]))


def _mask(square: Square, outlines: list[np.ndarray], softness_px: float) -> np.ndarray:
    """Filled outlines (n, 2) in pixels, their edge soft inwards: exactly 0 from a margin on.

    Returns: (shown, shown) uint8, 255 where a frame is all new.
    """
    side = int(np.clip(round(square.shown / MASK_STEP), *MASK_SIDES))
    scale = side / square.shown
    plain = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(plain)
    for outline in outlines:
        inside = (outline - [square.left, square.top]) * scale
        pen.polygon([(float(x), float(y)) for x, y in inside], fill=255)
    soft = plain.filter(ImageFilter.GaussianBlur(max(0.8, softness_px * scale)))
    mask = np.zeros((square.shown, square.shown), np.uint8)
    # half of full lies on the outline: the ramp begins there
    full = np.asarray(soft) > 127
    if not full.any():
        return mask
    rows, columns = (_enlarged_span(full, axis, 1 / scale, square.shown) for axis in (1, 0))
    box = tuple(k * scale for k in (columns.start, rows.start, columns.stop, rows.stop))
    size = (columns.stop - columns.start, rows.stop - rows.start)
    ramp = soft.point(RAMP).resize(size, Image.Resampling.BILINEAR, box=box)
    mask[rows, columns] = np.asarray(ramp)
    return mask


def _enlarged_span(full: np.ndarray, axis: int, factor: float, size: int) -> slice:
    """From the first to the last line across an axis that holds anything, and one more each way.

    Args: full (n, n) bool; factor and size, of which they are once enlarged.
    """
    lines = np.flatnonzero(full.any(axis=axis))
    first, last = (lines[0] - 1) * factor, (lines[-1] + 2) * factor
    return slice(max(0, math.floor(first)), min(size, math.ceil(last)))
