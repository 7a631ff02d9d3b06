"""Crops with the points that the encoder reads, instead of the teacher's or halfway to them.

The teacher's points err by themselves in every frame, and what is learned between two frames learns
those errors too: a generator blurs what it cannot place. The encoder has seen all of them, and its
mean of several looks errs less from frame to frame: a decoder may learn from that alone, and an
encoder to find at one look what it had found in several.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Callable

import numpy as np
import torch

from vasa_cli.face import FaceReader, whole_face_square
from vasa_cli.models.encoder import FaceEncoder
from vasa_cli.squares import to_tensor
from vasa_cli.training import crops as teachers
from vasa_cli.training.crops import Crops

AT_ONCE = 24
# A face that the encoder and the teacher place so far apart, in face heights, on average of its
# points: one of them is wrong, and the teacher has followed it through the film.
DISAGREED = 0.04


def load_all(
    cache: Path,
    reader: FaceReader | None,
    report: Callable[[str], None] = print,
    *,
    share: float = 1.0,
) -> tuple[Crops, Crops]:
    """The portraits and the clips of a cache, with the reader's points where there is one.

    They are read once for each encoder and kept in the cache.

    Args: share: how far the points are the reader's, the rest is the teacher's.
    Raises: as `crops.load_all`.
    """
    portraits, clips = teachers.load_all(cache)
    if reader is None:
        return portraits, clips
    mark = digest(reader.encoder)

    def mixed(crops: Crops, name: str) -> Crops:
        read = read_again(crops, reader, cache / f"{name}-{mark}.npy", report)
        return replace(crops, points=crops.points + share * (read.points - crops.points))

    return mixed(portraits, "portraits"), mixed(clips, "clips")


def read_again(
    crops: Crops, reader: FaceReader, kept: Path, report: Callable[[str], None] = print
) -> Crops:
    """Crops with their points as the reader finds them, which are kept in a file (.npy)."""
    if not kept.exists():
        partial = kept.with_suffix(".part.npy")
        np.save(partial, points_read(crops, reader, report))
        partial.replace(kept)
    return replace(crops, points=np.load(kept))


def digest(encoder: FaceEncoder) -> str:
    """What tells one encoder from another, in eight letters."""
    found = hashlib.sha256()
    for tensor in encoder.state_dict().values():
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:8]


def points_read(crops: Crops, reader: FaceReader, report: Callable[[str], None]) -> np.ndarray:
    """The points (N, 478, 3) in crop units that the reader finds in all of the crops."""
    read = np.empty_like(crops.points)
    for start in range(0, len(read), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        pictures = to_tensor(np.ascontiguousarray(crops.images[some]), reader.device)
        points = reader.read_face(pictures, whole_face_square(torch.from_numpy(crops.points[some])))
        read[some] = reader.read_carefully(pictures, points).numpy()
        if start // AT_ONCE % 100 == 0:
            report(f"read {start} of {len(read)} crops")
    height = np.linalg.norm(crops.points[:, 10] - crops.points[:, 152], axis=-1)
    apart = np.linalg.norm((read - crops.points)[..., :2], axis=-1).mean(1) / height
    wrong = apart > DISAGREED
    report(f"the teacher's points stay in {int(wrong.sum())} of {len(read)} crops")
    read[wrong] = crops.points[wrong]
    return read
