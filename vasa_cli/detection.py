"""Where the faces of a picture are: candidates in all of it, then a look at each by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from vasa_cli.models.detector import SIDE, FaceDetector, decode_boxes
from vasa_cli.squares import Window, cut_square, to_tensor

CANDIDATE_SCORE = 0.2  # a place that scores less in the whole picture is forgotten
# Then it is looked at in squares of these sides, in face heights, each mirrored too: a face scores
# in all of them, texture in one or two. On the mean it has to have so much, and more where it was
# found only in finer tiles or in a turned picture, of which there are many.
LOOK_EXTENTS, BELIEVED_SCORE, HARD_SCORE = (3.0, 2.5, 2.0), 0.62, 0.72
LOOK_NEAR, LOOK_SIZE = 0.3, 1.5  # how far off, in face heights, and as a ratio, it is the same face
# Of the middle one alone, before the others are taken, and how much farther off it may see a face:
# where there are many, their places and sizes are but guessed at first.
GLANCE_SCORE, GLANCE_REACH = 0.25, 2.0
LEAST_SCORE = 0.02  # that counts in a look
N_CANDIDATES, N_HARD = 32, 8  # looked at in the whole picture, and in tiles or turned, best first
AT_ONCE = 24  # squares that the detector is shown
TILE_LEVELS = (1, 2, 4)  # a picture is searched whole, then at twice and four times the resolution
TURNS_DEG, TURNED_SIDE = (-40, 40), 512  # at last it is turned so, made so small
GREY = (127, 127, 127)  # beyond a picture's edges, as the detector was trained


@dataclass(frozen=True)
class Detection:
    """One face in a picture, in pixels: centre of its points, height from forehead to chin."""

    x: float
    y: float
    height: float
    score: float  # 0 to 1


class FaceFinder:
    """The detector, ready to search pictures."""

    def __init__(self, detector: FaceDetector, device: torch.device) -> None:
        self.detector, self.device = detector, device

    @torch.inference_mode()
    def find(self, image: np.ndarray) -> list[Detection]:
        """Faces of a picture (H, W, 3) uint8, from left to right.

        Every place where one may be is looked at again by itself. Finer tiles are searched only
        while nothing was found, and the picture turned only when nothing is in them.
        """
        for level in TILE_LEVELS:
            if level > 1 and max(image.shape[:2]) < SIDE * level / 2:
                break
            rule = (BELIEVED_SCORE, N_CANDIDATES) if level == 1 else (HARD_SCORE, N_HARD)
            if faces := self._believed(image, level, *rule):
                return faces
        return self._turned(image)

    def _believed(
        self, image: np.ndarray, level: int, least: float, n_looked_at: int
    ) -> list[Detection]:
        """The faces of one level whose mean score by themselves is so much, from left to right."""
        seen = without_doubles(self._search(image, level))[:n_looked_at]
        glances = self._look(image, seen, LOOK_EXTENTS[1:2], reach=GLANCE_REACH)
        likely = without_doubles([glance for glance in glances if glance.score >= GLANCE_SCORE])
        looks = self._look(image, likely, LOOK_EXTENTS, mirrored=True)
        sure = [face for face in looks if face.score >= least]
        return sorted(without_doubles(sure), key=lambda d: d.x)

    def _look(
        self,
        image: np.ndarray,
        faces: list[Detection],
        extents: tuple[float, ...],
        *,
        mirrored: bool = False,
        reach: float = 1.0,
    ) -> list[Detection]:
        """Each face as squares of some extents around it show it, with its mean score in them."""
        flips = (False, True) if mirrored else (False,)
        looks = [
            (k, Window(face.x, face.y, face.height * extent / 2), flip)
            for k, face in enumerate(faces)
            for flip in flips
            for extent in extents
        ]
        squares = [
            cut_square(image, window, SIDE)[:, :: -1 if flip else 1] for _, window, flip in looks
        ]
        places: list[list[Detection]] = [[] for _ in faces]
        for start in range(0, len(looks), AT_ONCE):
            maps = self.detector(to_tensor(squares[start : start + AT_ONCE], self.device))
            boxes = decode_boxes(maps, threshold=LEAST_SCORE)
            for (k, window, flip), found in zip(looks[start:], boxes):
                there = (face_in(box, window, mirrored=flip) for box in found.tolist())
                places[k] += [again for again in there if is_same(again, faces[k], reach)][:1]
        n_looks = len(flips) * len(extents)
        return [
            replace(
                max(seen, key=lambda d: d.score, default=face),
                score=sum(again.score for again in seen) / n_looks,
            )
            for face, seen in zip(faces, places)
        ]

    def _turned(self, image: np.ndarray) -> list[Detection]:
        """Heads that lie on their side by more than the detector knows."""
        scale = min(1.0, TURNED_SIDE / max(image.shape[:2]))
        size = tuple(max(1, round(n * scale)) for n in image.shape[1::-1])
        small = Image.fromarray(image).resize(size, Image.Resampling.BOX)
        found = []
        for angle in TURNS_DEG:
            turned = small.rotate(angle, Image.Resampling.BILINEAR, expand=True, fillcolor=GREY)
            cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
            for face in self._believed(np.asarray(turned), 1, HARD_SCORE, N_HARD):
                x, y = face.x - turned.width / 2, face.y - turned.height / 2
                aside = (cos * x - sin * y + small.width / 2) * image.shape[1] / small.width
                down = (sin * x + cos * y + small.height / 2) * image.shape[0] / small.height
                found.append(Detection(float(aside), float(down), face.height / scale, face.score))
        return sorted(without_doubles(found), key=lambda d: d.x)

    def _search(self, image: np.ndarray, level: int) -> list[Detection]:
        """One pass over overlapping tiles, level x 256 pixels for the longer side."""
        scale = SIDE * level / max(image.shape[:2])
        height, width = (max(1, round(n * scale)) for n in image.shape[:2])
        kernel = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
        small = np.asarray(Image.fromarray(image).resize((width, height), kernel))
        tiles, origins = [], []
        for top in tile_starts(height, SIDE):
            for left in tile_starts(width, SIDE):
                tile = np.full((SIDE, SIDE, 3), GREY, np.uint8)
                part = small[top : top + SIDE, left : left + SIDE]
                tile[: part.shape[0], : part.shape[1]] = part
                tiles.append(tile)
                origins.append((left, top))
        maps = self.detector(to_tensor(np.stack(tiles), self.device))
        boxes = decode_boxes(maps, threshold=CANDIDATE_SCORE)
        return [
            Detection(
                (float(b[0]) + left) / scale,
                (float(b[1]) + top) / scale,
                float(b[2]) / scale,
                float(b[3]),
            )
            for found, (left, top) in zip(boxes, origins)
            for b in found
        ]


def face_in(box: list[float], window: Window, *, mirrored: bool) -> Detection:
    """The face of the picture that a box (x, y, height, score) in a square of SIDE pixels is."""
    x, y, height, score = box
    unit = 2 * window.half / SIDE
    aside = SIDE - x if mirrored else x
    return Detection(
        window.x - window.half + aside * unit,
        window.y - window.half + y * unit,
        height * unit,
        score,
    )


def is_same(again: Detection, face: Detection, reach: float) -> bool:
    """Whether one is about where the other is, and about as large."""
    near = float(np.hypot(again.x - face.x, again.y - face.y)) < reach * LOOK_NEAR * face.height
    return near and abs(np.log(again.height / face.height)) < reach * np.log(LOOK_SIZE)


def tile_starts(length: int, side: int) -> list[int]:
    """Where tiles of a side begin so that they cover a length, overlapping by half."""
    if length <= side:
        return [0]
    n = int(np.ceil((length - side) / (side / 2))) + 1
    return [round(k * (length - side) / (n - 1)) for k in range(n)]


def without_doubles(found: list[Detection]) -> list[Detection]:
    """The best of detections that lie within half a face of each other."""
    kept: list[Detection] = []
    for face in sorted(found, key=lambda d: -d.score):
        if all(
            np.hypot(face.x - k.x, face.y - k.y) > 0.5 * max(face.height, k.height) for k in kept
        ):
            kept.append(face)
    return kept
