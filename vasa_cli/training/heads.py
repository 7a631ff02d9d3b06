"""Heads in memory for the face detector's pictures: whose, how many of whom, and in hoods."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from vasa_cli.training.crops import Crops

PORTRAIT_SIDE, CLIP_SIDE = 384, 192  # pixels of the crops in memory; portraits fill pictures
N_CLIP_FRAMES = 5000


@dataclass(frozen=True)
class Head:
    """A square crop in memory; places in crop units, [-1, 1] over the square."""

    image: np.ndarray  # (S, S, 3) uint8
    centre: np.ndarray  # (2,) mean of the face's 468 points
    height: float  # from forehead to chin
    box: np.ndarray  # (4,) left, top, right, bottom of the points
    valid: np.ndarray  # (4,) the same of what the camera saw


def read_heads(source: Crops, rows: np.ndarray, side: int) -> list[Head]:
    """Rows of stored crops, averaged down to (side, side)."""
    heads = []
    for row in np.sort(rows):
        image = Image.fromarray(source.images[row]).resize((side, side), Image.Resampling.BOX)
        flat = source.points[row, :468, :2]
        top, bottom = source.points[row, [10, 152], :2]
        heads.append(
            Head(
                np.asarray(image),
                flat.mean(0).astype(np.float64),
                max(float(np.linalg.norm(top - bottom)), 0.2),
                np.concatenate([flat.min(0), flat.max(0)]),
                np.clip(source.valid[row], -1, 1),
            )
        )
    return heads


def spread_rows(source: Crops, n: int) -> np.ndarray:
    """About n rows of the training split, evenly within each clip.

    Of a clip with four times as many there are twice as many: thousands of short ones of one kind
    would leave little of all others.
    """
    rows = np.flatnonzero(~source.validation)
    if len(rows) <= n:
        return rows
    clips = np.split(rows, np.flatnonzero(np.diff(source.clip[rows])) + 1)
    roots = np.sqrt([len(c) for c in clips])
    shares = np.maximum(1, np.round(n * roots / roots.sum())).astype(int)
    picks = [c[np.linspace(0, len(c) - 1, k + 2).astype(int)[1:-1]] for c, k in zip(clips, shares)]
    return np.unique(np.concatenate(picks))


def read_pool(portraits: Crops, clips: Crops) -> list[list[Head]]:
    """Every training portrait, and frames of the training clips."""
    return [
        read_heads(portraits, np.flatnonzero(~portraits.validation), PORTRAIT_SIDE),
        read_heads(clips, spread_rows(clips, N_CLIP_FRAMES), CLIP_SIDE),
    ]


def hooded(head: Head, rng: np.random.Generator) -> Head:
    """The same face with a scarf, hood or veil around it: a few folds of one colour."""
    side = head.image.shape[0]
    line = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    x, y = line[None] - head.centre[0], line[:, None] - head.centre[1]
    width, height = (head.box[2:] - head.box[:2]) / 2
    inner = np.hypot(
        x / (width * rng.uniform(0.92, 1.1)),
        (y + height * rng.uniform(-0.05, 0.12)) / (height * rng.uniform(0.88, 1.08)),
    )
    wide, tall = width * rng.uniform(1.3, 1.9), height * rng.uniform(1.3, 2.1)
    outer = np.hypot(x / wide, y / tall)
    spread = np.abs(x) / (wide * (1 + np.clip(y / height, 0, None) * rng.uniform(0.0, 0.5)))
    outer = np.where(y > 0, np.minimum(outer, spread), outer)  # it falls over the shoulders
    soft = 1.5 / side / width
    cloth = np.clip((inner - 1) / soft, 0, 1) * np.clip((1 - outer) / soft, 0, 1)
    angle = np.arctan2(x, y) * rng.integers(1, 9) + rng.uniform(0, 2 * math.pi)
    folds = 1 + rng.uniform(0, 0.35) * np.sin(angle + 4 * outer) - rng.uniform(0, 0.4) * outer
    colour = rng.uniform(0, 255, 3) * folds[..., None]
    image = head.image + (np.clip(colour, 0, 255) - head.image) * cloth[..., None]
    return replace(head, image=np.rint(image).astype(np.uint8))
