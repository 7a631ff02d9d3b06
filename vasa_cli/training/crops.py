"""Face crops on disk: one fixed window a clip, as the renderer would cut it.

With them are kept the teacher's points in crop units.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vasa_cli.errors import InputError
from vasa_cli.geometry import CROP_FACE_HEIGHT, CROP_ORIGIN_Y, Geometry, align
from vasa_cli.training.data import Item, Labels, load_frame, load_labels

CLIP_SIDE, PICTURE_SIDE = 320, 512  # pixels of the stored crops
FRAME_STEPS = {"real": 3, "ai": 6, "short": 4, "picture": 1}  # every how many frames are stored
SHORT_CLIP_FRAMES = 40  # clips of at most so many frames count as "short"
SMALLEST_FACE_PX = 60.0


@dataclass(frozen=True)
class Crops:
    """Stored crops of one kind; images stay on disk until they are indexed."""

    images: np.ndarray  # (N, S, S, 3) uint8, memory-mapped
    points: np.ndarray  # (N, 478, 3) float32 in crop units
    # (N, 4) float32: left, top, right, bottom of what the camera saw, in crop units
    valid: np.ndarray
    clip: np.ndarray  # (N,) number of the item
    validation: np.ndarray  # (N,) bool
    real: np.ndarray  # (N,) bool: filmed or photographed people
    face_px: np.ndarray  # (N,) height of the face in the source, pixels
    names: tuple[str, ...]  # of the items

    @property
    def side(self) -> int:
        return self.images.shape[1]


def window(labels: Labels, geometry: Geometry) -> tuple[np.ndarray, float]:
    """Centre (2,) and half side in pixels of a clip's square.

    It puts the clip's median head where the renderer puts it.
    """
    faces = labels.points[labels.found]
    scale, _, translation = align(faces[:: max(1, len(faces) // 50)], geometry.mean)
    half = float(np.median(scale)) / CROP_FACE_HEIGHT
    centre = np.median(translation[:, :2], 0) - [0.0, CROP_ORIGIN_Y * half]
    return centre, half


def to_crop_units(points: np.ndarray, centre: np.ndarray, half: float) -> np.ndarray:
    """Points (..., 478, 3) in pixels to crop units."""
    return ((points - [centre[0], centre[1], 0.0]) / half).astype(np.float32)


def cut(frame: np.ndarray, centre: np.ndarray, half: float, side: int) -> np.ndarray:
    """The window of a frame (H, W, 3) as (side, side, 3) uint8; its edge is repeated beyond it."""
    height, width = frame.shape[:2]
    x, y = centre
    pad = int(max(0, half - x, half - y, x + half - width, y + half - height)) + 1
    padded = Image.fromarray(np.pad(frame, ((pad, pad), (pad, pad), (0, 0)), mode="edge"))
    left, top = centre[0] - half + pad, centre[1] - half + pad
    box = (
        max(left, 0.0),
        max(top, 0.0),
        min(left + 2 * half, padded.width),
        min(top + 2 * half, padded.height),
    )
    return np.asarray(padded.resize((side, side), Image.Resampling.BICUBIC, box=box))


def valid_window(item: Item, labels: Labels, centre: np.ndarray, half: float) -> np.ndarray:
    """What the camera saw, (4,) in crop units."""
    height, width = labels.size
    edges = np.array(item.valid_box) * [width, height, width, height]
    return ((edges - np.tile(centre, 2)) / half).astype(np.float32)


def frame_kind(item: Item, labels: Labels) -> str:
    """Which of FRAME_STEPS an item is stored by."""
    if item.kind == "picture":
        return "picture"
    return "short" if len(labels.found) <= SHORT_CLIP_FRAMES else item.kind


def build(items: list[Item], geometry: Geometry, target: Path, *, side: int) -> None:
    """Cut and store the crops of all items under `target`.npy and `target`.npz."""
    plan = []
    for number, item in enumerate(items):
        labels = load_labels(item)
        if not labels.found.any():
            continue
        centre, half = window(labels, geometry)
        face_px = half * CROP_FACE_HEIGHT
        if face_px < SMALLEST_FACE_PX:
            continue
        step = FRAME_STEPS.get(frame_kind(item, labels), 3)
        plan += [
            (number, frame, centre, half)
            for frame in range(0, len(labels.found), step)
            if labels.found[frame]
        ]
    partial = target.with_suffix(".part.npy")
    images = np.lib.format.open_memmap(
        partial, mode="w+", dtype=np.uint8, shape=(len(plan), side, side, 3)
    )
    points, valid = np.zeros((len(plan), 478, 3), np.float32), np.zeros((len(plan), 4), np.float32)
    for k, (number, frame, centre, half) in enumerate(plan):
        labels = load_labels(items[number])
        images[k] = cut(load_frame(items[number], frame), centre, half, side)
        points[k] = to_crop_units(labels.points[frame], centre, half)
        valid[k] = valid_window(items[number], labels, centre, half)
    images.flush()
    numbers = np.array([p[0] for p in plan])
    np.savez(
        target.with_suffix(".npz"),
        points=points,
        valid=valid,
        clip=numbers,
        validation=np.array([items[n].validation for n in numbers]),
        real=np.array([items[n].kind != "ai" for n in numbers]),
        face_px=np.array([p[3] * CROP_FACE_HEIGHT for p in plan], np.float32),
        names=json.dumps([i.path.name for i in items]),
    )
    partial.replace(target.with_suffix(".npy"))


def load_all(cache: Path) -> tuple[Crops, Crops]:
    """The portraits and the clips of a cache; where one is missing the other stands for it.

    Raises:
        InputError: the cache holds neither.
    """
    there = [cache / n for n in ("portraits", "clips") if (cache / f"{n}.npy").exists()]
    if not there:
        raise InputError(
            f"no crops in {cache}; run vasa train prepare and vasa train geometry first"
        )
    return load(there[0]), load(there[-1])


def load(target: Path) -> Crops:
    """Crops stored by `build`."""
    with np.load(target.with_suffix(".npz")) as stored:
        arrays = {key: stored[key] for key in stored.files}
    names = tuple(json.loads(str(arrays.pop("names"))))
    return Crops(images=np.load(target.with_suffix(".npy"), mmap_mode="r"), names=names, **arrays)
