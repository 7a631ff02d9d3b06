"""Portraits whose teeth show, made to shut their lips, as photos from which to find the teeth.

A portrait has no second frame. But lips can be shut in closed form (`models.layers`), so every
portrait that shows its teeth is a sharp answer to the question how a closed mouth looks when open.
Smiles are not all that mouths do: the same portraits, their lips at rest and parted as in speech,
still show their own teeth, and are answers too once a decoder can fill in what lies below those.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
import torch

from vasa_cli.geometry import EXPLICIT, N_DYNAMICS, N_HEAD_POSE, Geometry
from vasa_cli.models.decoder import Decoder
from vasa_cli.motion import MOUTH_OPEN, Motion, perform
from vasa_cli.training.crops import Crops

OPEN_FROM = 0.022  # mouth opening in face heights from which teeth are worth learning
PARTED, SPREAD = (0.8, 2.6), (-1.5, 0.5)  # how far lips open and widen in speech, in deviations


@dataclass(frozen=True)
class Shut:
    """Portraits with their lips shut, or parted."""

    images: np.ndarray  # (N, S, S, 3) uint8, memory-mapped
    points: np.ndarray  # (N, 478, 3) in crop units
    rows: np.ndarray  # (N,) of the portraits they were made from


def resting(rng: np.random.Generator) -> Motion:
    """Lips shut."""
    return Motion(np.zeros((1, N_HEAD_POSE)), np.zeros((1, N_DYNAMICS)))


def speaking(rng: np.random.Generator) -> Motion:
    """Lips parted as in speech."""
    motion = resting(rng)
    motion.dynamics[0, MOUTH_OPEN] = rng.uniform(*PARTED)
    motion.dynamics[0, EXPLICIT.index("mouth_width")] = rng.uniform(*SPREAD)
    return motion


@torch.inference_mode()
def build(
    decoder: Decoder,
    portraits: Crops,
    mouths: np.ndarray,
    geometry: Geometry,
    target: Path,
    act: Callable[[np.random.Generator], Motion] = resting,
) -> None:
    """Have all portraits to learn from that show teeth act; `target`.npy and `target`.npz.

    Args: mouths (N,) mouth openings of the portraits in face heights.
    """
    rng = np.random.default_rng(0)
    rows = np.flatnonzero((mouths > OPEN_FROM) & ~portraits.validation)
    side = portraits.side
    partial = target.with_suffix(".part.npy")
    images = np.lib.format.open_memmap(
        partial, mode="w+", dtype=np.uint8, shape=(len(rows), side, side, 3)
    )
    points = np.zeros((len(rows), 478, 3), np.float32)
    for k, row in enumerate(rows):
        points[k] = perform(act(rng), geometry.fit(portraits.points[row]), geometry)[0]
        photo = torch.from_numpy(np.array(portraits.images[row])).permute(2, 0, 1)[None] / 127.5 - 1
        own, shut = (torch.from_numpy(p)[None] for p in (portraits.points[row], points[k]))
        drawn = decoder(photo, own, shut)[0].permute(1, 2, 0)
        images[k] = ((drawn.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    images.flush()
    np.savez(target.with_suffix(".npz"), points=points, rows=rows)
    partial.replace(target.with_suffix(".npy"))


def load(target: Path) -> Shut:
    """What `build` has stored."""
    with np.load(target.with_suffix(".npz")) as stored:
        return Shut(
            np.load(target.with_suffix(".npy"), mmap_mode="r"), stored["points"], stored["rows"]
        )
