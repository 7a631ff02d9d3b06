"""Motion and sound of every clip, ready for the motion model; fitted once and kept in the cache."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Callable

import numpy as np
import torch

from vasa_cli.audio import load_audio
from vasa_cli.config import MOTION_FPS
from vasa_cli.errors import InputError
from vasa_cli.geometry import Geometry
from vasa_cli.models.audio_encoder import N_CLASSES
from vasa_cli.motion import MOUTH_OPEN, Motion, from_video, without_gaps
from vasa_cli.speech import SpeechReader
from vasa_cli.training.crops import to_crop_units, window
from vasa_cli.training.sound_augment import plain
from vasa_cli.training.data import Item, Labels, load_labels

ENERGY_COLUMN = N_CLASSES  # of stacked speech features
MIN_FOUND = 0.9  # share of frames with a face
MIN_FRAMES = 20
LAGS = range(-2, 3)  # frames by which lips may lead or trail the sound
MIN_SYNC = 0.12  # longer clips whose lips follow their sound less are not trained on for lips
SYNC_NEEDS_FRAMES = 75  # what counts as longer


@dataclass(frozen=True)
class Take:
    """One clip's motion with the speech heard meanwhile."""

    name: str
    validation: bool
    real: bool
    motion: np.ndarray  # (T, 54) head pose and dynamics
    speech: np.ndarray  # (2 T, F)
    mels: np.ndarray  # (4 T, N_MELS) float16, as the ear reads them
    sync: float  # best correlation of the mouth's opening with the level of the sound


def read_take(item: Item, geometry: Geometry, reader: SpeechReader, labels: Labels) -> Take | None:
    """One item's take, or None when it has no usable face or sound."""
    if len(labels.found) < MIN_FRAMES or labels.found.mean() < MIN_FOUND:
        return None
    try:
        audio = load_audio(item.path)
        speech = reader.read(audio).stacked()
    except InputError:
        return None
    centre, half = window(labels, geometry)
    points = to_crop_units(labels.points, centre, half)
    seen = np.flatnonzero(labels.found)
    _, head_pose, dynamics = geometry.fit_sequence(points[seen])
    nearest = np.arange(len(points))
    if len(seen) < len(points):
        nearest = np.abs(nearest[:, None] - seen[None]).argmin(1)
    motion = without_gaps(from_video(head_pose[nearest], dynamics[nearest]), labels.found)
    rate = Fraction(labels.fps).limit_denominator(1001)
    motion = replace(motion, fps=rate).resample(
        Fraction(MOTION_FPS), round(len(motion) * MOTION_FPS / rate)
    )
    n_frames = min(len(motion), len(speech) // 2)
    speech = speech[: 2 * n_frames]
    mels = plain(torch.from_numpy(audio.as_float(0, len(audio.samples)))[None])[0]
    sync = synchrony(motion, speech)
    return Take(
        item.path.name,
        item.validation,
        item.kind == "real",
        np.concatenate([motion.head_pose, motion.dynamics], 1)[:n_frames].astype(np.float32),
        speech.astype(np.float32),
        mels[: 4 * n_frames].numpy().astype(np.float16),
        float(sync[0]),
    )


def synchrony(motion: Motion, speech: np.ndarray) -> np.ndarray:
    """How well the mouth's opening follows the level of the sound, over small lags.

    Args: speech (2 T, F).
    Returns: (2,) best correlation, and its lag in frames.
    """
    n = len(speech) // 2
    level = speech[: 2 * n, ENERGY_COLUMN].reshape(n, 2).mean(1)
    mouth = motion.dynamics[:n, MOUTH_OPEN]
    found = []
    for lag in LAGS:
        a, b = (mouth[lag:], level[: n - lag]) if lag >= 0 else (mouth[:lag], level[-lag:])
        steady = len(a) < 10 or a.std() < 1e-6 or b.std() < 1e-6
        found.append((-1.0 if steady else float(np.corrcoef(a, b)[0, 1]), float(lag)))
    return np.array(max(found))


def gather(items: list[Item], geometry: Geometry, reader: SpeechReader, store: Path) -> list[Take]:
    """Takes of all clips with sound, from the cache where they were read before."""
    store.mkdir(parents=True, exist_ok=True)
    takes = []
    for item in items:
        if item.kind == "picture":
            continue
        take = kept_take(item, geometry, reader, store, lambda: load_labels(item))
        takes += [take] if take is not None else []
    if not any(take for take in takes if not take.validation):
        raise InputError("no clip to learn motion from: none has both a face throughout and sound")
    return takes


def kept_take(
    item: Item,
    geometry: Geometry,
    reader: SpeechReader,
    store: Path,
    labels: Callable[[], Labels],
) -> Take | None:
    """One item's take from a folder where it is kept, else read by its labels and kept there."""
    path = store / f"{item.stem.name}.npz"
    if not path.exists():
        take = read_take(item, geometry, reader, labels())
        arrays: dict[str, np.ndarray] = {}
        if take is not None:
            arrays["motion"], arrays["speech"] = take.motion, take.speech
            arrays["mels"] = take.mels
            arrays["sync"] = np.array(take.sync)
        partial = path.with_suffix(".part.npz")
        np.savez(partial, **arrays)  # type: ignore[arg-type]
        partial.replace(path)
    with np.load(path) as kept:
        if "motion" not in kept:
            return None
        about = (item.path.name, item.validation, item.kind == "real")
        features = (kept["motion"], kept["speech"], kept["mels"])
        return Take(*about, *features, float(kept["sync"]))
