"""Crops whose eyes are made to look elsewhere, with the points that they were drawn at.

Most people look into the camera, and the teacher puts irises that look far aside back towards it:
an encoder that learned from them alone reads two thirds of a far look. The decoder draws an iris
as a disk wherever it is told to, so that any crop is an exact answer to where eyes may look.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Callable

import numpy as np
import torch

from vasa_cli import irises
from vasa_cli.gaze import GAZE, OFFSET_LIMIT, Eyes
from vasa_cli.geometry import Geometry
from vasa_cli.models.decoder import Decoder
from vasa_cli.squares import to_tensor
from vasa_cli.training.crops import Crops
from vasa_cli.training.pairs import openings

OPEN_FROM = 0.022  # opening of eyes, in face heights, from which irises are seen
PER_CLIP = 6.0  # crops made of a clip, times the root of its length
SMALLEST_FACE = 150.0  # pixels; irises of smaller ones are no disks


def made(
    decoder: Decoder,
    source: Crops,
    geometry: Geometry,
    kept: Path,
    report: Callable[[str], None] = print,
) -> Crops:
    """Crops to learn from whose eyes look elsewhere, drawn once and kept as .npy and .npz."""
    if not kept.with_suffix(".npz").exists():
        build(decoder, source, geometry, kept, report)
    with np.load(kept.with_suffix(".npz")) as stored:
        rows, points = stored["rows"], stored["points"]
    images = np.load(kept.with_suffix(".npy"), mmap_mode="r")
    per_row = ("valid", "clip", "validation", "real", "face_px")
    return replace(
        source,
        images=images,
        points=points,
        **{name: getattr(source, name)[rows] for name in per_row},
    )


@torch.inference_mode()
def build(
    decoder: Decoder,
    source: Crops,
    geometry: Geometry,
    target: Path,
    report: Callable[[str], None] = print,
) -> None:
    """Draw what `made` loads."""
    rng = np.random.default_rng(0)
    rows, side = chosen(source, rng), source.side
    report(f"eyes are made to look elsewhere in {len(rows)} crops")
    points = np.zeros((len(rows), *source.points.shape[1:]), np.float32)
    partial = target.with_suffix(".part.npy")
    images = np.lib.format.open_memmap(
        partial, mode="w+", dtype=np.uint8, shape=(len(rows), side, side, 3)
    )
    for k, row in enumerate(rows):
        photo = to_tensor(np.array(source.images[row])[None], torch.device("cpu"))
        own = irises.found(photo, torch.from_numpy(source.points[[row]]))
        points[k] = looking(own[0].numpy(), geometry, rng.uniform(-1, 1, 2) * OFFSET_LIMIT)
        seen = decoder.look(photo, own, parts=("eyes",))
        drawn = decoder.compose(seen, torch.from_numpy(points[[k]]))[0].permute(1, 2, 0)
        images[k] = ((drawn.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    images.flush()
    partial.replace(target.with_suffix(".npy"))
    np.savez(target.with_suffix(".npz"), points=points, rows=rows)


def chosen(source: Crops, rng: np.random.Generator) -> np.ndarray:
    """Rows (N,) of crops to learn from with open eyes, few of each clip."""
    usable = (openings(source.points)[1] > OPEN_FROM) & (source.face_px >= SMALLEST_FACE)
    rows = np.flatnonzero(usable & ~source.validation)
    clips = np.split(rows, np.flatnonzero(np.diff(source.clip[rows])) + 1)
    some = [
        rng.choice(clip, min(len(clip), round(PER_CLIP * len(clip) ** 0.5)), replace=False)
        for clip in clips
        if len(clip)
    ]
    return np.sort(np.concatenate(some)) if some else rows


def looking(points: np.ndarray, geometry: Geometry, offset: np.ndarray) -> np.ndarray:
    """Points (478, 3) with irises an offset (2,) off the middle, in eyeball radii right and up."""
    code = geometry.fit(points)
    eyes, dynamics = Eyes.of(code, geometry), code.dynamics.copy()
    dynamics[list(GAZE)] += (offset - eyes.photo) * eyes.radius
    return geometry.landmarks(code, head_pose=code.head_pose[None], dynamics=dynamics[None])[0]
