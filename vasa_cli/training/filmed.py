"""Any folder's clips of talking people as what motion is measured against.

The teacher's labels are used where the cache has them; other clips are read by vasa's own face
reader, once, and kept in the cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import numpy as np

from vasa_cli.config import MOTION_FPS
from vasa_cli.errors import InputError
from vasa_cli.filmed_figures import Filmed
from vasa_cli.face import FaceReader
from vasa_cli.geometry import N_HEAD_POSE, Geometry
from vasa_cli.motion import Motion
from vasa_cli.speech import SpeechReader
from vasa_cli.steadying import steady_head
from vasa_cli.track import track
from vasa_cli.training import data
from vasa_cli.training.data import Item, Labels
from vasa_cli.training.motion_data import MIN_SYNC, SYNC_NEEDS_FRAMES, Take, kept_take
from vasa_cli.video import probe, read_video

NO_FRAMES = np.zeros(0, np.int64)  # pictures are not kept


def choose(
    folder: Path,
    cache: Path,
    *,
    limit: int | None = None,
    names: set[str] | None = None,
    validation: bool = False,
) -> list[Item]:
    """Videos of a folder in a fixed order; spread over all of them when limited.

    Args: names only these files; validation only people that training keeps out.
    Raises: InputError when there is none.
    """
    items = [
        item
        for item in data.find_items(folder, cache / "labels", labelled=False)
        if item.kind != "picture"
        and (names is None or item.path.name in names)
        and (item.validation or not validation)
    ]
    if not items:
        raise InputError(
            f"no video in {folder} is asked for; give a folder of clips of talking people"
        )
    if limit is None or limit >= len(items):
        return items
    return [items[k] for k in np.linspace(0, len(items) - 1, limit).astype(int)]


def read(
    items: list[Item],
    faces: FaceReader,
    geometry: Geometry,
    ear: SpeechReader,
    *,
    cache: Path,
    key: str,
    tell: Callable[[str], None],
) -> list[Filmed]:
    """The clips that have a face throughout and sound.

    Args: key names the weights that the cached takes were made with.
    """
    store, seen = cache / "takes" / key, cache / "read" / key
    for folder in (store, seen):
        folder.mkdir(parents=True, exist_ok=True)
    found = []
    for item in items:

        def labels(item: Item = item) -> Labels:
            if data.is_labelled(item.stem):
                return data.load_labels(item)
            tell(f"reading {item.path.name}")
            return read_labels(item.path, faces, seen / f"{item.stem.name}.npz")

        take = kept_take(item, geometry, ear, store, labels)
        if take is None:
            tell(f"{item.path.name}: no face throughout or no sound, left out")
            continue
        found.append(filmed(item, take))
    return found


def filmed(item: Item, take: Take) -> Filmed:
    """A take as a clip to measure against, its head without what labels tremble by."""
    head_pose, dynamics = take.motion[:, :N_HEAD_POSE], take.motion[:, N_HEAD_POSE:]
    head_pose = steady_head(head_pose, dynamics, MOTION_FPS)
    follows = len(take.motion) < SYNC_NEEDS_FRAMES or take.sync >= MIN_SYNC
    return Filmed(
        item.path,
        data.person_key(item.source, item.path),
        Motion(head_pose, dynamics),
        take.speech,
        take.real and follows,
    )


def read_labels(path: Path, faces: FaceReader, kept: Path) -> Labels:
    """What the face reader sees in every frame of a video, or saw when it was last asked.

    A video in which it sees no face has labels without one.
    """
    if not kept.exists():
        info = probe(path)
        try:
            seen = track(read_video(path), faces)
            points, found = seen.points, seen.found
        except InputError:
            points, found = np.zeros((1, 478, 3), np.float32), np.zeros(1, bool)
        partial = kept.with_suffix(".part.npz")
        size = np.array([info.height, info.width])
        np.savez(partial, points=points, found=found, fps=float(info.fps), size=size)
        partial.replace(kept)
    with np.load(kept) as stored:
        found = stored["found"]
        return Labels(
            NO_FRAMES,
            (int(stored["size"][0]), int(stored["size"][1])),
            float(stored["fps"]) or 25.0,
            stored["points"],
            found,
            np.zeros((len(found), 52), np.float32),
        )
