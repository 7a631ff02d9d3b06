"""What the lips of a performance do at phones whose times are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from vasa_cli.audio import Audio
from vasa_cli.models.audio_encoder import CLASSES, CLOSES_LIPS, LIP_TO_TEETH, SILENCE
from vasa_cli.motion_figures import Face, correlation

LABEL_FPS = 50
CLOSED = 0.15  # of a speech's widest opening: under it the lips count as closed
TO_TEETH = 0.25  # of the lower lip's lowest place: under it the lip is at the teeth
# The vowels and glides by which lips are widened and narrowed; consonants take their neighbours'.
SPREAD = ("close_front", "mid_front", "palatal_glide")
ROUNDED = ("open_back", "mid_rounded", "close_rounded", "front_rounded", "labial_glide")
OPEN = ("open", "open_front")
MARGIN = 1  # frames before and after a phone in which the lips may do what it asks: 40 ms
PAUSE_S, BEFORE_REST_S, BEFORE_SPEECH_S = (
    0.5,
    0.3,
    0.2,
)  # a pause, and its ends that are not looked at


@dataclass(frozen=True, eq=False)
class Spoken:
    """A speech and its phones."""

    audio: Audio
    labels: np.ndarray  # (L,) uint8, a class of the ear for every 20 ms; beyond them unknown
    voice: str  # as "espeak-ng de+f2"
    kind: str  # what it is an example of, as "voice", "Chinese" or "whisper"


def runs(labels: np.ndarray, names: Sequence[str]) -> list[tuple[int, int]]:
    """First label and end (exclusive) of every run of one class among `names`."""
    wanted = {CLASSES.index(name) for name in names}
    edges = [0, *(np.flatnonzero(np.diff(labels.astype(int))) + 1).tolist(), len(labels)]
    return [(a, b) for a, b in zip(edges[:-1], edges[1:]) if a < b and int(labels[a]) in wanted]


def frames(face: Face, run: tuple[int, int], margin: int = 0) -> slice:
    """The frames whose middle lies in a run of labels, at least one, and some before and after."""
    rate = float(face.fps) / LABEL_FPS
    first, last = int(np.ceil(run[0] * rate - 0.5)), int(np.ceil(run[1] * rate - 0.5))
    first = min(first, len(face.opening) - 1)
    return slice(max(0, first - margin), max(last, first + 1) + margin)


def closures(face: Face, labels: np.ndarray) -> np.ndarray:
    """Least opening at each bilabial (N,), as a share of the widest of the whole speech."""
    found = [face.opening[frames(face, run, MARGIN)].min() for run in runs(labels, CLOSES_LIPS)]
    return np.array(found) / max(float(face.opening.max()), 1e-9)


def openings_at_vowels(face: Face, labels: np.ndarray) -> np.ndarray:
    """The same in the middle of each open vowel: what a mouth that never opens would not show."""
    middles = [(a + b) // 2 for a, b in runs(labels, OPEN)]  # its ends belong to its neighbours
    found = [face.opening[frames(face, (k, k + 1))].min() for k in middles]
    return np.array(found) / max(float(face.opening.max()), 1e-9)


def lip_to_teeth(face: Face, labels: np.ndarray) -> np.ndarray:
    """Highest place of the lower lip at each f and v (N,): 0 where lips meet, 1 lowest of all."""
    found = [face.lower_lip[frames(face, run, MARGIN)].min() for run in runs(labels, LIP_TO_TEETH)]
    return np.array(found) / max(float(face.lower_lip.max()), 1e-9)


def width_follows(face: Face, labels: np.ndarray) -> float:
    """Correlation over vowels of the mouth's width with 1 where they spread, -1 where they round.

    NaN with less than three of a kind.
    """
    wide, narrow = (
        [face.width[frames(face, r)].mean() for r in runs(labels, k)] for k in (SPREAD, ROUNDED)
    )
    if min(len(wide), len(narrow)) < 3:
        return float("nan")
    asked = np.repeat([1.0, -1.0], [len(wide), len(narrow)])
    return correlation(np.array(wide + narrow), asked)


def rest_in_pauses(face: Face, labels: np.ndarray) -> np.ndarray:
    """Opening in every frame of the pauses (N,), as a share of the widest; their ends left out."""
    found = []
    for first, last in runs(labels, (CLASSES[SILENCE],)):
        if last - first >= PAUSE_S * LABEL_FPS:
            first += round(BEFORE_REST_S * LABEL_FPS)
            last -= round(BEFORE_SPEECH_S * LABEL_FPS)
            found.append(face.opening[frames(face, (first, last))])
    shares = np.concatenate(found) if found else np.zeros(0)
    return shares / max(float(face.opening.max()), 1e-9)
