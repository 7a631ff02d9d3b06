"""One face through a film: its 478 points in every frame, from each frame to the next.

The face is looked for only at the beginning, after a cut and when it is lost. In between, a few
frames at a time are read at once, from where the face was in the frame before them.
"""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Callable, Iterable, Iterator

import numpy as np
import torch

from vasa_cli import occlusion
from vasa_cli.detection import Detection
from vasa_cli.errors import InputError, UsageError
from vasa_cli.face import REGION_EXTENT, REGION_SIDE, FaceReader, whole_face_square
from vasa_cli.geometry import FaceCode
from vasa_cli.models.fields import halved
from vasa_cli.squares import Window, cut_quickly, to_tensor, whole_pixels
from vasa_cli.threads import ahead, pool_of

BATCH = 8  # frames read at once
SETTLED = 0.03  # a pass that moves the face by more, in face heights, is followed by another
MAX_PASSES = 3
SEARCH_EVERY = 5  # frames from one search to the next while there is no face
THUMBNAIL = (36, 64)  # pixels of what cuts are seen by
CUT_CHANGE, CUT_RATIO = 9.0, 3.5  # mean change of 255, and over the largest of the frames around
GLITCH = 12  # frames after which a shot may go on
JUMP = 0.25  # face heights by which a face moves in one frame only where the film was cut
JUMP_RATIO = 6.0  # and how much more that must be than in the frames around


@dataclass(frozen=True, eq=False)
class Track:
    """What was seen of one face."""

    points: np.ndarray  # (T, 478, 3) float32, pixels of the film's picture, with depth
    found: np.ndarray  # (T,) False where no face was found
    repeated: np.ndarray  # (T,) True where a frame is a copy of the one before
    lower_faces: np.ndarray  # (T, s, s, 3) uint8 thumbnails, see occlusion.py
    cuts: tuple[int, ...]  # first frame of each shot but the first

    @property
    def shots(self) -> list[slice]:
        """The frames of each shot."""
        edges = [0, *self.cuts, len(self.found)]
        return [slice(start, stop) for start, stop in zip(edges[:-1], edges[1:])]

    @property
    def fresh(self) -> np.ndarray:
        """(T,) True where a frame shows the face as it is at that time."""
        return self.found & ~self.repeated


@dataclass(frozen=True, eq=False)
class _Frame:
    image: np.ndarray
    cut: tuple[np.ndarray, np.ndarray] | None  # thumbnails before and after, where a shot begins
    repeated: bool


def track(
    frames: Iterable[np.ndarray],
    reader: FaceReader,
    *,
    face: int | None = None,
    scale: float = 1.0,
    name: str = "the film",
    tell: Callable[[int], None] = lambda done: None,
) -> Track:
    """Follow one face through frames (H, W, 3) uint8.

    Args:
        face: which of several, counted from 1 on the left, in the first frame that shows so many;
            the largest of the first that are found when not given.
        scale: what the points are multiplied by, where the frames are smaller than the film.
        tell: is told the frames that are done.

    Raises:
        InputError: no frame shows a face.
        UsageError: never so many faces as `face` says.
    """
    waiting: list[_Frame] = []
    with (
        pool_of(torch.get_num_threads()) as cutters,
        closing(ahead(watched(frames), BATCH)) as coming,
    ):
        tracker = _Tracker(reader, face, cutters)
        for frame in coming:
            if frame.cut is not None and waiting:
                tracker.read(waiting)
                waiting = []
            waiting.append(frame)
            if len(waiting) == BATCH:
                tracker.read(waiting)
                waiting = []
                tell(len(tracker.found))
        if waiting:
            tracker.read(waiting)
    tell(len(tracker.found))
    if not any(tracker.found):
        n_frames = len(tracker.found)
        if face is not None and tracker.n_faces:
            raise UsageError(
                f"there is no face {face} in {name}: at most {tracker.n_faces} found, counted from"
                f" the left; give --face 1 to {tracker.n_faces}"
            )
        raise InputError(
            f"no face found in {name} ({n_frames} frames); give a film of one face from the front"
        )
    found = np.array(tracker.found)
    points = np.stack(tracker.points) * np.float32(scale)
    known = without_glitches(tracker.cuts, found)
    cuts = sorted({*known, *jump_cuts(points, found, known)})
    lower_faces = np.stack(tracker.lower_faces)
    return Track(points, found, np.array(tracker.repeated), lower_faces, tuple(cuts))


class _Tracker:
    """Reads frames in order; holds where the face was last."""

    def __init__(self, reader: FaceReader, face: int | None, cutters: Executor) -> None:
        self.reader, self.face, self.cutters = reader, face, cutters
        self.points: list[np.ndarray] = []
        self.found: list[bool] = []
        self.repeated: list[bool] = []
        self.lower_faces: list[np.ndarray] = []
        self.cuts: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # thumbnails on either side
        self.n_faces = 0  # most faces seen in one frame
        self.person: FaceCode | None = None
        self.last: np.ndarray | None = None  # points (478, 3) while the face is held
        self.gone: np.ndarray | None = None  # where it was, once lost within a shot
        self.since_search = SEARCH_EVERY

    def read(self, frames: list[_Frame]) -> None:
        """Frames of one shot; only the first may begin it."""
        if frames[0].cut is not None:
            self.cuts[len(self.found)] = frames[0].cut
            self.last, self.gone, self.since_search = None, None, SEARCH_EVERY
        self.repeated += [frame.repeated for frame in frames]
        while frames:
            searched = self.last is None
            if searched and not self._search(frames[0].image):
                self._append(None)
                frames = frames[1:]
                continue
            n_held = self._follow([frame.image for frame in frames])
            if n_held == 0 and searched:  # the search is surer than the look at what it found
                self._append(self.last)
                n_held = 1
            frames = frames[n_held:]
            if frames:  # lost in the first of them: search it at once
                self.gone, self.last, self.since_search = self.last, None, SEARCH_EVERY

    def _append(self, points: np.ndarray | None, lower_face: np.ndarray | None = None) -> None:
        self.found.append(points is not None)
        if points is None:
            points = self.points[-1] if self.points else np.zeros((478, 3), np.float32)
        if lower_face is None:
            lower_face = np.zeros((occlusion.SIDE, occlusion.SIDE, 3), np.uint8)
        self.points.append(points.astype(np.float32))
        self.lower_faces.append(lower_face)

    def _search(self, image: np.ndarray) -> bool:
        """Look for the face anywhere in a frame; where there is none, not in each one."""
        self.since_search += 1
        if self.since_search <= SEARCH_EVERY:
            return False
        self.since_search = 1
        faces = self.reader.detect(image)
        self.n_faces = max(self.n_faces, len(faces))
        if not faces or (self.person is None and (self.face or 1) > len(faces)):
            return False
        self.last = self._choose(image, faces)
        if self.person is None:
            self.person = self._code(self.last)
        return True

    def _choose(self, image: np.ndarray, faces: list[Detection]) -> np.ndarray:
        """The points of the face that is wanted: as asked, nearest, or of the same person."""
        if self.person is None:
            largest = max(faces, key=lambda face: face.height)
            wanted = largest if self.face is None else faces[self.face - 1]
            return self.reader.read_points(image, wanted)
        if self.gone is not None:
            middle = self.gone[:468, :2].mean(0)
            nearest = min(faces, key=lambda face: np.hypot(face.x - middle[0], face.y - middle[1]))
            return self.reader.read_points(image, nearest)
        read = [self.reader.read_points(image, face) for face in faces]
        if len(read) == 1:
            return read[0]
        known = self.person.identity
        return min(read, key=lambda p: float(np.abs(self._code(p).identity - known).mean()))

    def _code(self, points: np.ndarray) -> FaceCode:
        return self.reader.fit(points, self.reader.window(points))

    def _follow(self, images: list[np.ndarray]) -> int:
        """Read frames from where the face was; how many before it was lost."""
        assert self.last is not None
        place = place_of(self.last)
        region = whole_pixels(Window(place.x, place.y, place.height * REGION_EXTENT / 2))
        middle, half = [region.x, region.y, 0.0], region.half
        cut = partial(cut_quickly, window=region, side=REGION_SIDE)
        squares = list(self.cutters.map(cut, images))
        pictures = to_tensor(squares, self.reader.device)
        small = halved(pictures)  # all that whole faces are read from
        points = torch.from_numpy((self.last - middle) / half).float()
        points = points.expand(len(images), -1, -1)
        for _ in range(MAX_PASSES):
            before, points = points, self.reader.read_face(small, whole_face_square(points))
            moved = (points - before)[..., :2].mean(1).norm(dim=-1) * REGION_EXTENT / 2
            if float(moved.max()) < SETTLED:
                break
        points = self.reader.refine(pictures, points)
        n_held = self._count_held(pictures, points)
        pixels = points.numpy().astype(np.float64) * half + middle
        lower_faces = occlusion.thumbnails(small, points)
        for k in range(n_held):
            self._append(pixels[k], lower_faces[k])
            self.last = pixels[k]
        return n_held

    def _count_held(self, pictures: torch.Tensor, points: torch.Tensor) -> int:
        """In how many of some frames the face is held, from the first on.

        Two are looked at; where it is gone in one of them, all are.
        """
        looked_at = sorted({len(points) // 2, len(points) - 1})
        if self.reader.sees(pictures[looked_at], points[looked_at]).all():
            return len(points)
        held = self.reader.sees(pictures, points)
        return len(points) if held.all() else int(held.argmin())


def place_of(points: np.ndarray) -> Detection:
    """Where a face is whose points (478, 3) were read."""
    x, y = points[:468, :2].mean(0)
    height = float(np.linalg.norm(points[10, :2] - points[152, :2]))
    return Detection(float(x), float(y), height, 1.0)


def watched(frames: Iterable[np.ndarray]) -> Iterator[_Frame]:
    """Each frame with whether a shot begins with it and whether it repeats the one before."""
    watch = _CutWatch()
    held: tuple[np.ndarray, np.ndarray, bool] | None = None  # image, thumbnail, repeated
    for image in frames:
        small = thumbnail(image)
        same = False
        if held is not None:
            same = np.array_equal(small, held[1]) and np.array_equal(image, held[0])
            yield _Frame(held[0], watch.look(held[1], small), held[2])
        held = (image, small, same)
    if held is not None:
        yield _Frame(held[0], watch.look(held[1], None), held[2])


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Every so many pixels of an image (H, W, 3): about THUMBNAIL, int16."""
    steps = [max(1, n // size) for n, size in zip(image.shape[:2], THUMBNAIL)]
    return image[:: steps[0], :: steps[1]].astype(np.int16)


class _CutWatch:
    """Tells by thumbnails in order where shots begin."""

    def __init__(self) -> None:
        self.before: np.ndarray | None = None  # the last thumbnail that was no flash
        self.changes: list[float] = []

    def look(
        self, now: np.ndarray, after: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Thumbnails before and now where a shot begins now.

        A flash, after which all is as before, begins none.
        """
        before = self.before
        if before is None or before.shape != now.shape:
            self.before = now
            return None
        change = difference(now, before)
        around = (
            self.changes[-8:] if after is None else [*self.changes[-8:], difference(after, now)]
        )
        sudden = change > CUT_CHANGE and bool(around) and change > CUT_RATIO * max(around)
        if sudden and after is not None and difference(after, before) < change / 2:
            return None  # a flash
        self.before = now
        self.changes = [] if sudden else [*self.changes[-8:], change]
        return (before, now) if sudden else None


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference of two thumbnails, of 255."""
    return float(np.abs(a - b).mean())


def without_glitches(
    cuts: dict[int, tuple[np.ndarray, np.ndarray]], found: np.ndarray
) -> list[int]:
    """The cuts but for those around a few frames without a face, after which all is as before.

    Damaged frames look like that: the shot goes on behind them.

    Args: cuts, each with thumbnails of the frames on either side; found (T,).
    """
    kept = list(cuts)
    for first, last in zip(list(cuts)[:-1], list(cuts)[1:]):
        before, glitch = cuts[first]
        back = difference(cuts[last][1], before) < difference(glitch, before) / 2
        if back and last - first <= GLITCH and not found[first:last].any() and first in kept:
            kept = [cut for cut in kept if cut not in (first, last)]
    return kept


def jump_cuts(points: np.ndarray, found: np.ndarray, cuts: list[int]) -> list[int]:
    """Frames at which the face leaps though the picture hardly changes: a cut in one take.

    Args: points (T, 478, 3), found (T,), cuts that are known.
    """
    middle = points[:, :468, :2].mean(1)
    height = np.linalg.norm(points[:, 10, :2] - points[:, 152, :2], axis=-1)
    step = np.linalg.norm(np.diff(middle, axis=0), axis=1) / np.maximum(height[1:], 1e-6)
    jumps = []
    for frame in (np.flatnonzero(step > JUMP) + 1).tolist():
        around = np.delete(step[max(0, frame - 5) : frame + 4], min(frame - 1, 4))
        usual = float(np.median(around)) if len(around) else 0.0
        sides = [
            np.median(middle[k], 0)
            for k in (slice(max(0, frame - 3), frame), slice(frame, frame + 3))
        ]
        away = float(np.linalg.norm(sides[1] - sides[0])) > JUMP * height[frame]
        held = bool(found[frame - 1] and found[frame])
        if held and away and step[frame - 1] > JUMP_RATIO * usual and frame not in cuts:
            jumps.append(frame)
    return jumps
