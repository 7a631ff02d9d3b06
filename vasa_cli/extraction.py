"""From a film of a face to motion: follow it, fit who it is once, read every frame, smooth."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Callable, Iterable, Iterator, Sequence

import numpy as np

from vasa_cli.errors import UsageError
from vasa_cli.face import FaceReader
from vasa_cli.film import Film
from vasa_cli.geometry import (
    N_DYNAMICS,
    N_EXPLICIT,
    N_HEAD_POSE,
    FaceCode,
    Geometry,
    face_measures,
    measure_matrix,
    point_weights,
)
from vasa_cli.motion import LIDS, MOUTH_OPEN, Motion, from_video, without_gaps
from vasa_cli.motion_edit import stacked, unstacked
from vasa_cli.motion_file import Recording, file_sha256
from vasa_cli.smoothing import smooth
from vasa_cli.squares import Window
from vasa_cli.steadying import steady_head
from vasa_cli.track import Track, track

SAMPLED_FRAMES = 60  # of a shot, from which person and place are read
FITTED_AT_ONCE = 1000  # frames, so that memory stays small
FACE_WANTED_PX = 230  # height of a face of which more pixels say no more
LEAST_SIDE_PX = 640  # to which a film is never shrunk for tracking
FIRST_LOOK = 50  # frames in which the face's size is looked for
# A head turns slowly, so that more of what it does fast is noise.
HEAD_STRENGTH, FACE_STRENGTH = 2.0, 1.0
RIDGE = 0.002
TOUCHING = 0.012  # face heights: lips read as no further apart may be shut
SHUT_PERCENT = 3.0  # of the frames, those with the least opening tell how shut lips are read
LEAST_LID_GAP = 0.015  # face heights, of open eyes
MANY_REPEATED = 0.02  # share of frames that repeat the one before it is told from


@dataclass(frozen=True, eq=False)
class Shot:
    """One face in one shot: who, where, and what it did."""

    frames: slice  # of the film
    window: Window  # of the film's picture; crop units are its
    code: FaceCode  # the person, resting
    head_pose: np.ndarray  # (T, 6)
    dynamics: np.ndarray  # (T, N_DYNAMICS)


@dataclass(frozen=True, eq=False)
class Performance:
    """All that was read of one face in a film."""

    film: Film
    track: Track
    shots: list[Shot | None]  # None where a shot never shows the face
    recording: Recording
    warnings: tuple[str, ...]


def extract(
    film: Film,
    reader: FaceReader,
    *,
    face: int | None = None,
    strength: float = 1.0,
    basis: str = "",
    seconds: float | None = None,
    skip: Sequence[tuple[int, int]] = (),
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Performance:
    """Motion of one face of a film, every frame of it.

    Args:
        face: which of several, counted from 1 on the left; the largest when not given.
        strength: of the smoothing, 0 for none.
        basis: SHA-256 of the geometry weights, kept with the motion.
        seconds: read only so many from the beginning.
        skip: first and last of frames not to be looked at; they are drawn from their neighbours.
        tell: frames done, and about how many there are.

    Raises:
        InputError: no frame can be read or none shows a face.
        UsageError: there are never so many faces.
    """
    side = tracking_side(film, reader)
    wanted = None if seconds is None else max(1, round(seconds * film.fps))
    frames = film.frames(n_frames=wanted, longest_side=side, quickly=True)
    total = film.n_expected if wanted is None else min(wanted, film.n_expected)
    seen = track(
        without(frames, skip),
        reader,
        face=face,
        scale=max(film.size) / min(side, max(film.size)),
        name=film.path.name,
        tell=lambda done: tell(done, max(done, total)),
    )
    shots = [
        read_shot(seen, frames_of, reader, fps=float(film.fps), strength=strength)
        for frames_of in seen.shots
    ]
    recording = _recorded(film, seen, shots, basis)
    return Performance(
        film, seen, shots, recording, film.warnings + _warnings(film, seen, frames.complaint)
    )


def without(frames: Iterable[np.ndarray], skip: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
    """Frames of which some, from a first to a last, are copies of the one before them.

    Raises: UsageError when no other frame is left.
    """
    last: np.ndarray | None = None
    n_waiting = 0
    for number, image in enumerate(frames):
        if any(a <= number <= b for a, b in skip):
            if last is None:
                n_waiting += 1
                continue
            image = last
        yield from [image] * n_waiting  # before the first that is whole
        n_waiting, last = 0, image
        yield image
    if last is None and n_waiting:
        raise UsageError(
            f"all {n_waiting} frames of the film are to be filled; leave some to draw them from"
        )


def tracking_side(film: Film, reader: FaceReader) -> int:
    """The longest side in pixels at which frames need be read to see all of the face."""
    longest = max(film.size)
    if longest <= LEAST_SIDE_PX:
        return longest
    for image in islice(film.frames(longest_side=2 * LEAST_SIDE_PX), 0, FIRST_LOOK, 5):
        faces = reader.detect(image)
        if faces:
            largest = max(face.height for face in faces) / max(image.shape[:2])
            return round(min(longest, max(LEAST_SIDE_PX, FACE_WANTED_PX / largest)))
    return min(longest, 3 * LEAST_SIDE_PX)


def read_shot(
    seen: Track, frames: slice, reader: FaceReader, *, fps: float, strength: float
) -> Shot | None:
    """What one face does in one shot; None where it is not seen."""
    points, fresh = seen.points[frames], seen.fresh[frames]
    known = np.flatnonzero(fresh)
    if not len(known):
        return None
    sampled = points[known[_spread(len(known), SAMPLED_FRAMES)]].astype(np.float64)
    window = _usual_window(sampled, reader)
    code = reader.geometry.fit_sequence(window.to_crop(sampled))[0]
    head_pose = np.zeros((len(points), N_HEAD_POSE))
    dynamics = np.zeros((len(points), N_DYNAMICS))
    for some in np.array_split(known, -(-len(known) // FITTED_AT_ONCE)):
        head_pose[some], dynamics[some] = read_motion(
            window.to_crop(points[some].astype(np.float64)), code, reader.geometry
        )
    dynamics[known] = shut_lips(dynamics[known], reader.geometry)
    whole = without_gaps(Motion(head_pose, dynamics), fresh)
    head_pose = steady_head(whole.head_pose, whole.dynamics, fps, strength=strength)
    rest = np.median(dynamics[known], 0)
    return Shot(
        frames,
        window,
        code.with_motion(head_pose=np.median(head_pose[known], 0), dynamics=rest),
        smooth(head_pose, strength=strength * HEAD_STRENGTH),
        smooth(whole.dynamics, strength=strength * FACE_STRENGTH),
    )


def read_motion(
    points: np.ndarray, code: FaceCode, geometry: Geometry
) -> tuple[np.ndarray, np.ndarray]:
    """Head pose (T, 6) and dynamics (T, N_DYNAMICS) of points (T, 478, 3) in crop units.

    The first dynamics are read off the face's measures, each exactly; the others explain what is
    left. A fit of all at once shares a blink out among lids, brows and cheeks, and shuts the lids
    by half. Lids are counted in openings of this person's own eyes, so that what shuts them shuts
    anyone's.
    """
    head_pose, _, fitted, rested = geometry.fit_frames(points, ridge=RIDGE, identity=code.identity)
    canonical = rested + geometry.displacement(fitted)
    neutral = geometry.neutral(code.identity) + code.detail
    basis = geometry.dynamics_basis.reshape(-1, N_DYNAMICS)
    unit = np.diag(measure_matrix() @ basis[:, :N_EXPLICIT])  # of each measure
    measured, own = face_measures(canonical), face_measures(neutral)
    explicit = (measured - own) / unit
    left = (canonical - neutral).reshape(len(points), -1) - explicit @ basis[:, :N_EXPLICIT].T
    weights = point_weights().reshape(-1)
    weighted = basis[:, N_EXPLICIT:] * weights[:, None]
    gram = weighted.T @ weighted + RIDGE * np.eye(weighted.shape[1])
    others = np.linalg.solve(gram, weighted.T @ (left * weights).T).T
    lids, mean_lids = list(LIDS), face_measures(geometry.mean)[list(LIDS)]
    openings = measured[:, lids] / np.maximum(own[lids], LEAST_LID_GAP)
    explicit[:, lids] = (openings - 1) * mean_lids / unit[lids]
    return head_pose, np.concatenate([explicit, others], 1)


def shut_lips(dynamics: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The same dynamics (T, N_DYNAMICS), lips that are read as all but shut being shut.

    A mouth that is closed is read as a little open, by as much as its most closed frames say.
    """
    basis = geometry.dynamics_basis.reshape(-1, N_DYNAMICS)
    unit = float(measure_matrix()[MOUTH_OPEN] @ basis[:, MOUTH_OPEN])
    least = float(np.percentile(dynamics[:, MOUTH_OPEN], SHUT_PERCENT))
    if least * unit > TOUCHING:
        return dynamics  # never shut: how this face looks then is not known
    shut = dynamics.copy()
    shut[:, MOUTH_OPEN] = np.maximum(dynamics[:, MOUTH_OPEN] - max(least, 0.0), 0.0)
    return shut


def gaps_of(missing: np.ndarray) -> list[tuple[int, int]]:
    """First and last frame of each run of True in (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2])]


def _spread(n: int, wanted: int) -> np.ndarray:
    """At most so many of n numbers, evenly."""
    return np.linspace(0, n - 1, min(n, wanted)).astype(int)


def _usual_window(points: np.ndarray, reader: FaceReader) -> Window:
    """The square around the head of frames (T, 478, 3) at its usual place and size."""
    windows = [reader.window(frame) for frame in points]
    x, y, half = np.median([(w.x, w.y, w.half) for w in windows], 0)
    return Window(float(x), float(y), float(half))


def _recorded(film: Film, seen: Track, shots: list[Shot | None], basis: str) -> Recording:
    """One recording of all shots, each as changes from its own rest; none where none was seen."""
    values = np.zeros((len(seen.found), N_HEAD_POSE + N_DYNAMICS))
    origins, read = np.zeros((len(shots), values.shape[1])), np.zeros(len(values), bool)
    for k, shot in enumerate(shots):
        if shot is None:
            continue
        motion = from_video(shot.head_pose, shot.dynamics)
        values[shot.frames], read[shot.frames] = stacked(motion), True
        absolute = np.concatenate([shot.head_pose[0], shot.dynamics[0]])
        absolute[5] = np.log(absolute[5])
        origins[k] = absolute - values[shot.frames][0]
    # a shot without the face leads from the one before to the one after
    motion = without_gaps(unstacked(values, film.fps), read)
    return Recording(
        motion,
        basis=basis,
        source=film.path.name,
        source_sha256=file_sha256(film.path),
        made_by="extract",
        origin=origins,
        cuts=seen.cuts,
        filled=tuple(gaps_of(~seen.found)),
    )


def _warnings(film: Film, seen: Track, complaint: str) -> tuple[str, ...]:
    """What a user should know of a film that was read."""
    name, said = film.path.name, []
    if complaint:
        said.append(f"{name} is damaged ({complaint}); what could be read of it was read")
    gaps = gaps_of(~seen.found)
    if gaps:
        longest_s = max(last - first + 1 for first, last in gaps) / float(film.fps)
        listed = ", ".join(f"{a}-{b}" for a, b in gaps[:8]) + (", ..." if len(gaps) > 8 else "")
        said.append(
            f"no face in {int((~seen.found).sum())} of {len(seen.found)} frames of {name}"
            f" ({listed}; at most {longest_s:.1f} s on end); their motion is drawn from the frames"
            " around them"
        )
    repeated = int((seen.repeated & seen.found).sum())
    if repeated > len(seen.found) * MANY_REPEATED:
        said.append(f"{repeated} of {len(seen.found)} frames of {name} repeat the one before")
    if seen.cuts:
        listed = ", ".join(str(cut) for cut in seen.cuts[:8]) + (
            ", ..." if len(seen.cuts) > 8 else ""
        )
        said.append(f"{name} is cut at frame {listed}; each shot is read by itself")
    return tuple(said)
