"""Pictures composed for the face detector: heads pasted over backgrounds that show none."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Callable

import numpy as np
from PIL import Image, ImageDraw

from vasa_cli.models.detector import SIDE
from vasa_cli.training.heads import Head, hooded

GREY = 127  # of what letterboxing leaves over
SMALLEST_PX, LARGEST_PX = 10.0, 230.0  # heights of pasted faces
RECOGNISABLE_PX = 9.0  # smaller faces are neither faces nor background
N_FACES_SHARES = (0.12, 0.66, 0.14, 0.08)  # of pictures with 0, 1, 2 and 3 faces
# Pasted heads that are turned in the picture, by so many degrees or more: as often little as far.
TURNED_SHARE, TURNS_DEG = 0.5, (8, 25)
FILLING_SHARE, FILLING_TURNS_DEG = 0.3, (3, 14)  # and those that fill it
HOODED_SHARE = 0.12  # of heads that wear a scarf or hood
EASY_WEIGHT = 0.12  # of a head that is found surely, of one that is missed
SMALLEST_DECOY_PX = 28.0  # a scrambled face below it may look like a face again
KEPT_COVER, LOST_COVER = 0.3, 0.8  # covered more than the first: ignored; than the second: gone


@dataclass(frozen=True)
class Placement:
    """Where a head goes: the face's centre and height in pixels, turn in radians."""

    x: float
    y: float
    height: float
    turn: float = 0.0
    mirrored: bool = False

    def affine(self, head: Head) -> np.ndarray:
        """From pixels of the picture to crop units, (2, 3)."""
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        back = np.array([[cos, sin], [-sin, cos]]) * (head.height / self.height)
        if self.mirrored:
            back[0] *= -1
        return np.column_stack([back, head.centre - back @ [self.x, self.y]])


@dataclass(frozen=True)
class Scene:
    """One composed picture and its faces (n, 3): x, y, height in pixels."""

    image: np.ndarray  # (256, 256, 3) uint8
    faces: np.ndarray
    ignored: np.ndarray  # (m, 3) faces that are neither to be found nor to be missed
    extent: tuple[int, int]  # height and width of the picture proper; the rest is grey


class Canvas:
    """A picture in the making; keeps count of its faces and of what later pastes cover."""

    def __init__(self, background: np.ndarray) -> None:
        self.image = background.copy()
        self.faces: list[tuple[float, float, float]] = []
        self.ignored: list[tuple[float, float, float]] = []

    def paste(self, head: Head, at: Placement, *, edge: str, soft: float, target: bool) -> None:
        """Lay a head over the picture, cut as "square" or "head", blended over soft crop units."""
        height, width = self.image.shape[:2]
        affine = at.affine(head)
        turned = np.linalg.inv(affine[:, :2])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) - affine[:, 2]
        corners = corners @ turned.T
        left, top = np.maximum(np.floor(corners.min(0)), 0).astype(int)
        right, bottom = np.minimum(np.ceil(corners.max(0)), [width, height]).astype(int)
        if right <= left or bottom <= top:
            return
        affine = np.column_stack([affine[:, :2], affine[:, :2] @ [left, top] + affine[:, 2]])
        size = (right - left, bottom - top)
        alpha = cover(head, affine, size, edge=edge, soft=soft)
        over = resample(head.image, affine, size).astype(np.float32)
        part = self.image[top:bottom, left:right]
        part[...] = (part + (over - part) * alpha[..., None] + 0.5).astype(np.uint8)
        self._cover_faces(alpha, left, top)
        if target:
            place = (at.x, at.y, at.height)
            (self.faces if at.height >= RECOGNISABLE_PX else self.ignored).append(place)

    def _cover_faces(self, alpha: np.ndarray, left: int, top: int) -> None:
        """Drop faces that a paste hides; those half hidden are ignored."""
        kept = []
        for x, y, size in self.faces:
            half = 0.4 * size
            rows = slice(max(0, int(y - half) - top), max(0, int(y + half) + 1 - top))
            columns = slice(max(0, int(x - half) - left), max(0, int(x + half) + 1 - left))
            hidden = float(alpha[rows, columns].sum()) / (2 * half + 1) ** 2
            if hidden < KEPT_COVER:
                kept.append((x, y, size))
            elif hidden < LOST_COVER:
                self.ignored.append((x, y, size))
        self.faces = kept

    def scene(self) -> Scene:
        """The picture letterboxed as the detector gets it: at the top left, grey beyond."""
        height, width = self.image.shape[:2]
        image = np.full((SIDE, SIDE, 3), GREY, np.uint8)
        image[:height, :width] = self.image
        faces, ignored = (
            np.array(f, np.float32).reshape(-1, 3) for f in (self.faces, self.ignored)
        )
        return Scene(image, faces, ignored, (height, width))


def resample(image: np.ndarray, affine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture of size (width, height), each pixel from where the affine map to [-1, 1] says."""
    side = image.shape[0]
    to_source = affine * (side / 2)
    to_source[:, 2] += side / 2
    shrink = math.sqrt(abs(float(np.linalg.det(to_source[:, :2]))))
    picture = Image.fromarray(image)
    if shrink >= 2:
        picture = picture.reduce(int(shrink))
        to_source /= int(shrink)
    return np.asarray(
        picture.transform(
            size, Image.Transform.AFFINE, tuple(to_source.ravel()), Image.Resampling.BILINEAR
        )
    )


def cover(
    head: Head, affine: np.ndarray, size: tuple[int, int], *, edge: str, soft: float
) -> np.ndarray:
    """How much of each pixel the pasted head takes, (H, W) in [0, 1]."""
    xs, ys = np.arange(size[0], dtype=np.float32) + 0.5, np.arange(size[1], dtype=np.float32) + 0.5
    (a, b, c), (d, e, f) = affine.astype(np.float32)
    u, v = a * xs + (b * ys + c)[:, None], d * xs + (e * ys + f)[:, None]
    left, top, right, bottom = head.valid
    inside = np.minimum(np.minimum(u - left, right - u), np.minimum(v - top, bottom - v))
    if edge == "head":
        x, y, h = head.centre[0], head.centre[1] - 0.1 * head.height, head.height
        radius = np.sqrt(((u - x) / (0.52 * h)) ** 2 + ((v - y) / (0.72 * h)) ** 2)
        inside = np.minimum(inside, (1 - radius) * (0.5 * h))
    pixel = math.hypot(float(a), float(b))  # the edge is never sharper than a pixel
    alpha: np.ndarray = np.clip(inside / max(soft, pixel), 0, 1)
    return alpha


class Composer:
    """Draws scenes from a pool of heads; the same seed draws the same scenes."""

    def __init__(self, pool: list[list[Head]], *, seed: int = 0) -> None:
        self.pool = [heads for heads in pool if heads]
        self.rng = np.random.default_rng(seed)
        self.weigh([np.zeros(len(heads)) for heads in self.pool])

    def weigh(self, scores: list[np.ndarray]) -> None:
        """Draw heads the more often the less surely they are found, by scores from 0 to 1."""
        weights = [1 - (1 - EASY_WEIGHT) * s for s in scores]
        self.bounds = [np.cumsum(w) / w.sum() for w in weights]

    def head(self) -> Head:
        chosen = int(self.rng.integers(len(self.pool)))
        heads, bounds = self.pool[chosen], self.bounds[chosen]
        return heads[min(int(np.searchsorted(bounds, self.rng.random())), len(heads) - 1)]

    def face(self) -> Head:
        """A head as it is to be found, at times in a hood."""
        head = self.head()
        return hooded(head, self.rng) if self.rng.random() < HOODED_SHARE else head

    def scene(self, n_faces: int | None = None) -> Scene:
        """A picture with that many faces (two and more: at most), or as many as chance gives."""
        rng = self.rng
        if n_faces is None:
            n_faces = int(rng.choice(len(N_FACES_SHARES), p=N_FACES_SHARES))
        shape = (SIDE, SIDE)
        if rng.random() < 0.6:
            short = round(SIDE * rng.uniform(0.5, 1.0))
            shape = (short, SIDE) if rng.random() < 0.35 else (SIDE, short)
        canvas = Canvas(self.background(shape))
        filled = n_faces == 1 and rng.random() < 0.6
        if filled:
            self.fill(canvas)
        for _ in range(int(rng.choice(3, p=(0.3, 0.4, 0.3) if n_faces == 0 else (0.7, 0.2, 0.1)))):
            self.add_decoy(canvas)
        for _ in range(n_faces - filled):
            self.add_face(canvas)
        return canvas.scene()

    def fill(self, canvas: Canvas) -> None:
        """One head as the whole picture, cut to its shape: the commonest case at run time."""
        rng, head = self.rng, self.face()
        height, width = canvas.image.shape[:2]
        low, high = head.valid[:2], head.valid[2:]
        scale = max(width / (high[0] - low[0]), height / (high[1] - low[1]))
        scale = min(scale * math.exp(rng.uniform(-0.02, 0.6)), 1.2 * SIDE / head.height)
        size = np.array([width, height]) / scale
        margin = 0.3 * np.minimum(head.height, size)
        first = np.maximum(np.minimum(low, high - size), head.centre - size + margin)
        last = np.minimum(np.maximum(low, high - size), head.centre - margin)
        place = (head.centre - rng.uniform(np.minimum(first, last), last)) * scale
        x, y = np.clip(place, 4, [width - 4, height - 4])
        mirrored = bool(rng.random() < 0.5)
        turn = turned(rng, FILLING_SHARE, FILLING_TURNS_DEG)
        at = Placement(width - x if mirrored else x, y, head.height * scale, turn, mirrored)
        canvas.paste(head, at, edge="square", soft=0.0, target=True)

    def add_face(self, canvas: Canvas) -> None:
        edge = "head" if self.rng.random() < 0.6 else "square"
        at = self.place(canvas, SMALLEST_PX, edge)
        if at is not None:
            soft = float(self.rng.choice([0.0, 0.05, 0.2]))
            canvas.paste(self.face(), at, edge=edge, soft=soft, target=True)

    def add_decoy(self, canvas: Canvas) -> None:
        """Something that has a face's colours or parts and is none."""
        rng, head = self.rng, self.head()
        decoys = (scramble, scramble, blob, lower_part, upper_part)
        head = decoys[int(rng.integers(len(decoys)))](head, rng)
        whole = bool(np.ptp(head.valid[[1, 3]]) > 1)
        edge = "head" if whole and rng.random() < 0.6 else "square"
        at = self.place(canvas, SMALLEST_DECOY_PX, edge)
        if at is not None:
            canvas.paste(head, at, edge=edge, soft=float(rng.choice([0.0, 0.1])), target=False)

    def place(self, canvas: Canvas, smallest_px: float, edge: str) -> Placement | None:
        """A random place that leaves the faces already there in sight, if there is one."""
        rng = self.rng
        height, width = canvas.image.shape[:2]
        size = math.exp(rng.uniform(math.log(smallest_px), math.log(LARGEST_PX)))
        turn = turned(rng, TURNED_SHARE, TURNS_DEG)
        for _ in range(40):
            x, y = rng.uniform(1, width - 1), rng.uniform(1, height - 1)
            reach = size * (0.75 if edge == "head" else 1.3)
            if all(math.hypot(x - fx, y - fy) > reach + 0.4 * h for fx, fy, h in canvas.faces):
                return Placement(x, y, size, turn, bool(rng.random() < 0.5))
            size = max(smallest_px, 0.93 * size)
        return None

    def background(self, shape: tuple[int, int]) -> np.ndarray:
        """A picture (height, width, 3) uint8 without a face."""
        if self.rng.random() < 0.5:
            return surroundings(self.head(), shape, self.rng)
        makers: tuple[Callable[..., np.ndarray], ...] = (clouds, clouds, stripes, shapes, strokes)
        return makers[int(self.rng.integers(len(makers)))](shape, self.rng)


def turned(rng: np.random.Generator, share: float, spreads_deg: tuple[float, float]) -> float:
    """Radians by which a head is turned in the picture; so many of them by the wider spread."""
    spread = spreads_deg[int(rng.random() < share)]
    return float(np.clip(rng.normal() * math.radians(spread), -math.pi / 4, math.pi / 4))


def to_pixels(box: np.ndarray, side: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = np.clip(np.round((box + 1) / 2 * side), 0, side).astype(int)
    return int(left), int(top), int(right), int(bottom)


def surroundings(head: Head, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A part of a crop beside its face, enlarged."""
    grow = 0.15 * np.tile(head.box[2:] - head.box[:2], 2) * [-1, -1, 1, 1]
    left, top, right, bottom = to_pixels(head.box + grow, head.image.shape[0])
    x0, y0, x1, y1 = to_pixels(head.valid, head.image.shape[0])
    strips = [(x0, y0, left, y1), (right, y0, x1, y1), (x0, y0, x1, top), (x0, bottom, x1, y1)]
    strips = [s for s in strips if s[2] - s[0] >= 12 and s[3] - s[1] >= 12]
    if not strips:
        return clouds(shape, rng)
    x0, y0, x1, y1 = strips[int(rng.integers(len(strips)))]
    aspect = shape[1] / shape[0] * math.exp(rng.uniform(-0.3, 0.3))
    height = min(y1 - y0, (x1 - x0) / aspect) * rng.uniform(0.6, 1.0)
    left_px, top_px = rng.uniform(x0, x1 - height * aspect), rng.uniform(y0, y1 - height)
    box = (left_px, top_px, left_px + height * aspect, top_px + height)
    part = Image.fromarray(head.image).resize(shape[::-1], Image.Resampling.BILINEAR, box=box)
    image = np.asarray(part)
    return image[:, ::-1] if rng.random() < 0.5 else image


def clouds(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Noise of several frequencies, round or drawn out like fur, over a flat colour."""
    total: np.ndarray = np.broadcast_to(rng.uniform(0, 255, 3).astype(np.float32), (*shape, 3))
    if rng.random() < 0.2:
        return total.astype(np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        cells = np.exp(rng.uniform(0.7, math.log(SIDE), 2))
        rows, columns = (cells if rng.random() < 0.3 else cells[[0, 0]]).astype(int)
        coarse: np.ndarray = rng.normal(size=(rows, columns, 3 if rng.random() < 0.4 else 1))
        coarse = np.clip(128 + 50 * coarse, 0, 255).astype(np.uint8)
        coarse = np.ascontiguousarray(np.broadcast_to(coarse, (rows, columns, 3)))
        fine = Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BILINEAR)
        total = total + (np.asarray(fine, np.float32) - 128) * np.float32(rng.uniform(0.1, 1.5))
    return np.clip(total, 0, 255).astype(np.uint8)


def stripes(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Gradients, waves, stripes and checkerboards of two colours."""
    turn, period = rng.uniform(0, math.pi), math.exp(rng.uniform(math.log(4), math.log(500)))
    y, x = np.ogrid[: shape[0], : shape[1]]
    wave = np.sin((x * math.cos(turn) + y * math.sin(turn)) * (2 * math.pi / period))
    if rng.random() < 0.4:
        wave = wave * np.sin((y * math.cos(turn) - x * math.sin(turn)) * (2 * math.pi / period))
    if rng.random() < 0.5:
        wave = np.sign(wave)
    mix = (wave[..., None] / 2 + 0.5).astype(np.float32)
    one, other = rng.uniform(0, 255, (2, 3)).astype(np.float32)
    return (one + (other - one) * mix).astype(np.uint8)


def shapes(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Polygons and blobs over clouds."""
    picture = Image.fromarray(clouds(shape, rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(2, 25))):
        centre, reach = rng.uniform(0, SIDE, 2), math.exp(rng.uniform(1.5, 5.0))
        corners = centre + rng.normal(size=(int(rng.integers(3, 7)), 2)) * reach / 2
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        if rng.random() < 0.5:
            draw.polygon([(float(px), float(py)) for px, py in corners], fill=colour)
        else:
            box = [*np.sort(corners[:2, 0]), *np.sort(corners[:2, 1])]
            draw.ellipse((box[0], box[2], box[1], box[3]), fill=colour)
    return np.asarray(picture)


def strokes(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Rows of short strokes, as writing looks from afar, over clouds."""
    picture = Image.fromarray(clouds(shape, rng))
    draw = ImageDraw.Draw(picture)
    size, colour = rng.uniform(4, 40), tuple(int(c) for c in rng.integers(0, 256, 3))
    for row in np.arange(rng.uniform(0, 2 * size), shape[0], size * 1.6)[:20]:
        for column in np.arange(0, shape[1], size * 0.7)[:30]:
            if rng.random() < 0.8:
                ends = rng.uniform(0, size * 0.7, 4) + [column, row, column, row]
                draw.line(ends.tolist(), fill=colour, width=max(1, int(size / 7)))
    return np.asarray(picture)


def scramble(head: Head, rng: np.random.Generator) -> Head:
    """The face in 4x4 or 8x8 tiles, shuffled."""
    left, top, right, bottom = to_pixels(head.box, head.image.shape[0])
    n = int(rng.choice([4, 8]))
    h, w = (bottom - top) // n, (right - left) // n
    tiles = head.image[top : top + n * h, left : left + n * w].reshape(n, h, n, w, 3)
    tiles = tiles.transpose(0, 2, 1, 3, 4).reshape(n * n, h, w, 3)[rng.permutation(n * n)]
    image = head.image.copy()
    face = tiles.reshape(n, n, h, w, 3).transpose(0, 2, 1, 3, 4).reshape(n * h, n * w, 3)
    image[top : top + n * h, left : left + n * w] = face
    return replace(head, image=image)


def blob(head: Head, rng: np.random.Generator) -> Head:
    """The colours of skin and hair without a face: a few pixels across the crop, enlarged."""
    few = int(rng.integers(3, 6))
    small = Image.fromarray(head.image).resize((few, few), Image.Resampling.BOX)
    smooth = small.resize((64, 64), Image.Resampling.BICUBIC)
    return replace(head, image=np.asarray(smooth))


def lower_part(head: Head, rng: np.random.Generator) -> Head:
    """Neck, shoulders and clothes."""
    left, top, right, bottom = head.valid
    return replace(head, valid=np.array([left, max(top, head.box[3] + 0.05), right, bottom]))


def upper_part(head: Head, rng: np.random.Generator) -> Head:
    """Hair and what is above it."""
    left, top, right, bottom = head.valid
    return replace(head, valid=np.array([left, top, right, min(bottom, head.box[1] - 0.02)]))
