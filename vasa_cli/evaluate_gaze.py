"""Eye contact in figures: where the eyes of films look once `vasa edit` has turned them.

Where a gaze of nought lies hangs on a face's build and on who measures, and every instrument is off
by some constant; how still a look is kept while the head turns does not. So what counts is how far
the gaze in the camera's frame, that of the head and that of the eyes in it together, is from its
own median.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Callable, Sequence

import numpy as np

from vasa_cli.config import RenderOptions
from vasa_cli.control_values import GAZES
from vasa_cli.edit import Edits, edit
from vasa_cli.errors import InputError
from vasa_cli.gaze import angles_of, gaze_vector
from vasa_cli.geometry import rotation_matrix
from vasa_cli.pipeline import Renderer
from vasa_cli.shown import Instrument, Series

FILMED_CRF = 12  # of the film that is measured, so that it is not the encoder that is
OPEN_SHARE = 0.6  # of their median opening, from which eyes count as open
MOST_TURNED_DEG = 25.0  # a head further aside, or from its median up or down, is not counted
LEAST_COUNTED = 10  # frames of a film, below which it says nothing
DIRECTIONS = ("across", "up_down")

Row = dict[str, float]


def evaluate(
    films: Sequence[Path],
    renderer: Renderer,
    instrument: Instrument,
    *,
    seconds: float | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Row]:
    """Figures by film, and their mean and median, see `measure`; of so many seconds of each.

    Films that cannot be edited, or say nothing, are left out and told.

    Raises: InputError when none is left.
    """
    rows: dict[str, Row] = {}
    for film in films:
        try:
            row = measure(renderer, film, instrument, seconds=seconds)
        except InputError as error:
            tell(f"left out: {error}")
            continue
        if row is None:
            tell(f"left out {film.name}: fewer than {LEAST_COUNTED} frames show open eyes")
            continue
        rows[film.name] = row
        tell(f"{film.name}: " + ", ".join(f"{name} {value:.2f}" for name, value in row.items()))
    if not rows:
        raise InputError(f"the eyes of none of {len(films)} films could be measured")
    names = next(iter(rows.values()))
    columns = {name: [row[name] for row in rows.values()] for name in names}
    mean = {name: float(np.mean(values)) for name, values in columns.items()}
    median = {name: float(np.median(values)) for name, values in columns.items()}
    return {"mean": mean, "median": median, **rows}


def measure(
    renderer: Renderer, film: Path, instrument: Instrument, *, seconds: float | None = None
) -> Row | None:
    """How far a film's gaze is from its median as filmed and as edited, in degrees.

    Means over the frames in which eyes are open and the head is not far aside, across and up or
    down; "counted" is their share. None where they are too few.

    Raises: InputError as `vasa_cli.edit.edit`.
    """
    options = RenderOptions(crf=FILMED_CRF, preview_s=seconds, provenance="off")
    with tempfile.TemporaryDirectory(prefix="vasa-") as folder:
        edited = Path(folder) / "edited.mp4"
        edit(renderer, film, edited, options=options, edits=Edits(gaze=GAZES["camera"]))
        series = instrument(film), instrument(edited)
    n_frames = min(len(of["yaw"]) for of in series)
    before, after = ({name: values[:n_frames] for name, values in of.items()} for of in series)
    counted = _counted(before) & np.isfinite(gaze_of(after)).all(1)
    if counted.sum() < LEAST_COUNTED:
        return None
    row = {}
    for name, of in (("filmed", before), ("edited", after)):
        for direction, off in zip(DIRECTIONS, restless(gaze_of(of)[counted])):
            row[f"{name}_{direction}"] = float(off)
    return row | {"counted": float(counted.mean())}


def gaze_of(series: Series) -> np.ndarray:
    """Where eyes look in the camera's frame, yaw and pitch (T, 2) in degrees.

    The eyes turn in a head that is turned itself: one that is tilted to a shoulder looks aside with
    eyes that look up.
    """
    head = np.stack([series[name] for name in ("yaw", "pitch", "roll")], 1)
    eyes = np.stack([series[name] for name in ("gaze_yaw", "gaze_pitch")], 1)
    return angles_of(np.einsum("tij,tj->ti", rotation_matrix(head), gaze_vector(eyes)))


def restless(gaze: np.ndarray) -> np.ndarray:
    """Mean distance (2,) of a gaze (T, 2) from its median."""
    return np.asarray(np.abs(gaze - np.median(gaze, 0)).mean(0))


def _counted(series: Series) -> np.ndarray:
    """Which frames (T,) show open eyes in a head that is not far aside."""
    found = np.isfinite(gaze_of(series)).all(1) & np.isfinite(series["eye_open"])
    if not found.any():
        return found
    level = np.median(series["pitch"][found])
    turned = np.maximum(np.abs(series["yaw"]), np.abs(series["pitch"] - level))
    opened = series["eye_open"] > OPEN_SHARE * np.median(series["eye_open"][found])
    return np.asarray(found & opened & (turned < MOST_TURNED_DEG))
