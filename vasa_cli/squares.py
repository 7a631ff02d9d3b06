"""Squares of pictures: where they lie, cut from them, as tensors and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from vasa_cli.device_copies import to_host
from vasa_cli.models.blocks import channels_last


@dataclass(frozen=True)
class Window:
    """The square of a picture that is animated: centre and half side in pixels."""

    x: float
    y: float
    half: float

    def from_crop(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in crop units to pixels."""
        return points * self.half + [self.x, self.y, 0.0]

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in pixels to crop units."""
        return (points - [self.x, self.y, 0.0]) / self.half

    def edges(self, picture: np.ndarray) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what of the square is picture (H, W, 3), crop units."""
        height, width = picture.shape[:2]
        (left, top, _), (right, bottom, _) = np.clip(
            self.to_crop(np.array([[0.0, 0.0, 0.0], [width, height, 0.0]])), -1, 1
        )
        return float(left), float(top), float(right), float(bottom)


def to_tensor(images: Sequence[np.ndarray] | np.ndarray, device: torch.device) -> Tensor:
    """Pictures (H, W, 3) uint8, all of one size, to (B, 3, H, W) in [-1, 1]."""
    if device.type != "cpu":
        levels = torch.tensor(np.asarray(images), device=device).float().div_(127.5).sub_(1)
    else:
        levels = torch.empty(len(images), *images[0].shape)
        for level, image in zip(levels.numpy(), images):  # nothing is copied before
            np.divide(image, 127.5, out=level, dtype=np.float32)
            level -= 1
    return channels_last(levels.permute(0, 3, 1, 2))


def to_pixels(images: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [-1, 1] to (B, H, W, 3) uint8; on a CPU the images are used up."""
    if images.device.type != "cpu":
        rounded = images.mul(127.5).add_(128).clamp_(0, 255).to(torch.uint8)
        return to_host(rounded.permute(0, 2, 3, 1).contiguous())
    pixels = np.empty((len(images), *images.shape[2:], 3), np.uint8)
    for image, picture in zip(pixels, images):  # one by one, which a processor's cache holds
        levels = picture.mul_(127.5).add_(128).clamp_(0, 255).numpy()
        for channel in range(3):
            image[..., channel] = levels[channel]  # rounds down
    return pixels


def each_picture(squares: Iterable[Tensor]) -> Iterator[np.ndarray]:
    """Squares (1, 3, S, S) in [-1, 1] as (S, S, 3) uint8, as `to_pixels` has them.

    Of a GPU they come all at once, for it is to be waited for no more often than it must.
    """
    squares = iter(squares)
    for square in squares:
        if square.device.type == "cpu":
            yield to_pixels(square)[0]
        else:
            yield from to_pixels(torch.cat([square, *squares]))


def cut_square(
    image: np.ndarray,
    window: Window,
    side: int,
    *,
    kernel: Image.Resampling = Image.Resampling.LANCZOS,
) -> np.ndarray:
    """A window of a picture (H, W, 3) as (side, side, 3) uint8; its edge is repeated beyond it."""
    height, width = image.shape[:2]
    left, right = window.x - window.half, window.x + window.half
    top, bottom = window.y - window.half, window.y + window.half
    # at least a pixel of the picture, also where the window lies beside it
    x0, y0 = (min(max(0, int(np.floor(v)) - 2), n - 1) for v, n in ((left, width), (top, height)))
    x1, y1 = (max(1, min(n, int(np.ceil(v)) + 2)) for v, n in ((right, width), (bottom, height)))
    pads = [max(0, int(np.ceil(p)) + 2) for p in (-top, bottom - height, -left, right - width)]
    part = np.pad(
        image[y0:y1, x0:x1], ((pads[0], pads[1]), (pads[2], pads[3]), (0, 0)), mode="edge"
    )
    dx, dy = left - x0 + pads[2], top - y0 + pads[0]
    if right - left == side and dx == int(dx) and dy == int(dy):  # pixel for pixel
        return np.ascontiguousarray(part[int(dy) : int(dy) + side, int(dx) : int(dx) + side])
    box = (
        max(dx, 0.0),
        max(dy, 0.0),
        min(dx + 2 * window.half, part.shape[1]),
        min(dy + 2 * window.half, part.shape[0]),
    )
    return np.asarray(Image.fromarray(part).resize((side, side), kernel, box=box))


def whole_pixels(window: Window) -> Window:
    """The window whose edges lie between pixels that is nearest to one."""
    size = max(1, round(2 * window.half))
    left, top = (round(middle - size / 2) for middle in (window.x, window.y))
    return Window(left + size / 2, top + size / 2, size / 2)


def cut_quickly(image: np.ndarray, window: Window, side: int) -> np.ndarray:
    """A window of whole pixels of a picture (H, W, 3) as (side, side, 3) uint8.

    As `cut_square` by linear means, in a third of the time: PyTorch shrinks bytes faster than
    Pillow. The picture's edge is repeated beyond it.
    """
    height, width = image.shape[:2]
    left, top = int(window.x - window.half), int(window.y - window.half)
    right, bottom = left + int(2 * window.half), top + int(2 * window.half)
    # at least a pixel of the picture, also where the window lies beside it
    x0, x1 = min(max(0, left), width - 1), max(1, min(width, right))
    y0, y1 = min(max(0, top), height - 1), max(1, min(height, bottom))
    pads = ((max(0, -top), max(0, bottom - height)), (max(0, -left), max(0, right - width)), (0, 0))
    part = np.pad(image[y0:y1, x0:x1], pads, mode="edge")
    part = part[max(0, top - y0) :, max(0, left - x0) :][: bottom - top, : right - left]
    levels = torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1)[None]
    cut = interpolate(levels, size=(side, side), mode="bilinear", antialias=True)
    return cut[0].permute(1, 2, 0).contiguous().numpy()
