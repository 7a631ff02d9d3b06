"""A film drawn anew where a plan says so: every frame from itself, or from its neighbours."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from vasa_cli import repaint
from vasa_cli.device_copies import own_stream
from vasa_cli.extraction import Shot
from vasa_cli.film import Film
from vasa_cli.marked_video import Mark, even_part
from vasa_cli.models.decoder import LOCAL_PARTS
from vasa_cli.pipeline import Renderer, marked
from vasa_cli.repaint import Square
from vasa_cli.threads import ahead, in_order
from vasa_cli.track import Track

DRAWN_AT_ONCE = 4  # frames, each of which is a photo of its own
FADE_FRAMES = 3  # over which what is new comes and goes beside frames that stay as they are


@dataclass(frozen=True, eq=False)
class Neighbour:
    """A whole frame from which a missing one is drawn."""

    image: np.ndarray  # (H, W, 3) uint8
    points: np.ndarray | None  # (478, 3) pixels; None where it shows no face
    share: float  # of it in the missing frame, 0 to 1


@dataclass(frozen=True, eq=False)
class Plan:
    """What every frame of the new film is made of."""

    numbers: np.ndarray  # (N,) which frame of the old film
    share: np.ndarray  # (N,) 0 where it stays untouched, 1 where its face is new
    targets: np.ndarray  # (N, 478, 3) float32 pixels, where the face's points are to be
    squares: list[Square | None]  # None where nothing is drawn
    mask: Callable[..., np.ndarray]  # of a square and faces: what of it may change
    missing: Mapping[int, tuple[Neighbour, ...]] = field(default_factory=dict)
    # by the number of a new frame, the old one whose face is drawn in it instead of its own
    lent: Mapping[int, int] = field(default_factory=dict)
    parts: tuple[str, ...] = LOCAL_PARTS  # of the face that the mask lets be seen

    def mask_of(self, k: int, square: Square, source: np.ndarray) -> np.ndarray:
        """What of the new frame k is new, (shown, shown) uint8.

        Args: source, points (478, 3) of the face as it was filmed.
        """
        mask = self.mask(square, source, self.targets[k])
        if self.share[k] == 1:
            return mask
        return np.rint(mask * np.float32(self.share[k])).astype(np.uint8)


def square_of(shot: Shot, frame: int) -> Square:
    """The square around the head in one frame of a shot."""
    place = shot.window.from_crop(np.array([*shot.head_pose[frame, 3:5], 0.0]))
    return repaint.square_around(place[0], place[1], shot.window.half)


def faded(untouched: np.ndarray) -> np.ndarray:
    """1 in frames far from those to be left untouched, which have 0, and a ramp between, (T,)."""
    distance = np.full(len(untouched), float(FADE_FRAMES + 1))
    left = np.flatnonzero(untouched)
    if len(left):
        frames = np.arange(len(untouched))
        after = np.searchsorted(left, frames)
        for k in (np.maximum(after - 1, 0), np.minimum(after, len(left) - 1)):
            distance = np.minimum(distance, np.abs(frames - left[k]))
    return distance / (FADE_FRAMES + 1)


def draw(
    renderer: Renderer, film: Film, seen: Track, plan: Plan, marks: Sequence[Mark] = ()
) -> Iterator[np.ndarray]:
    """Finished frames (H, W, 3) uint8, one at a time, drawn and marked ahead in threads."""

    @lru_cache(maxsize=4)
    def lender(number: int) -> np.ndarray:
        (image,) = film.frames(first=number, n_frames=1)
        return image

    def finished(batch: list[tuple[int, np.ndarray]]) -> list[np.ndarray]:
        lent = {k: lender(plan.lent[k]) for k, _ in batch if k in plan.lent}
        with own_stream(renderer.models.device):
            made = drawn(renderer, batch, seen, plan, lent)
        return [marked(even_part(frame), marks) for frame in made]

    with closing(ahead(film.in_order(plan.numbers.tolist()), DRAWN_AT_ONCE)) as coming:
        images = enumerate(coming)
        batches = iter(lambda: list(islice(images, DRAWN_AT_ONCE)), [])
        for frames in in_order(finished, batches, n_threads=torch.get_num_threads()):
            yield from frames


def drawn(
    renderer: Renderer,
    batch: list[tuple[int, np.ndarray]],
    seen: Track,
    plan: Plan,
    lent: Mapping[int, np.ndarray] = {},
) -> list[np.ndarray]:
    """A batch of frames with their numbers in the plan, its faces moved where it says so.

    Args: lent holds the frame (H, W, 3) whose face is drawn, for each that has it lent.
    """
    images = dict(batch)
    models = renderer.models
    for k in images:
        if k in plan.missing:
            images[k] = rebuilt(renderer, plan.missing[k], plan.targets[k], plan.squares[k])
    moved = [
        (k, square)
        for k in images
        if (square := plan.squares[k]) is not None and plan.share[k] > 0 and k not in plan.missing
    ]
    for side in sorted({square.side for _, square in moved}):
        chosen = [(k, square) for k, square in moved if square.side == side]
        frames, squares = [k for k, _ in chosen], [square for _, square in chosen]
        own = plan.numbers[frames]
        masks = [
            plan.mask_of(k, square, source)
            for k, square, source in zip(frames, squares, seen.points[own])
        ]
        made = repaint.draw(
            models.decoder,
            models.device,
            [lent.get(k, images[k]) for k in frames],
            squares,
            seen.points[[plan.lent.get(k, number) for k, number in zip(frames, own)]],
            plan.targets[frames],
            parts=plan.parts,
            masks=masks,
        )
        for k, square, new, mask in zip(frames, squares, made, masks):
            images[k] = repaint.blend(images[k], new, mask, square)
    return list(images.values())


def rebuilt(
    renderer: Renderer,
    neighbours: Sequence[Neighbour],
    target: np.ndarray,
    square: Square | None,
) -> np.ndarray:
    """A missing frame (H, W, 3) from whole ones, whose faces are moved to its points (478, 3).

    The background fades from one to the other, the head goes its way.
    """
    base = sum(n.image.astype(np.float32) * n.share for n in neighbours)
    frame = np.rint(base).astype(np.uint8)
    faces = [(n, n.points) for n in neighbours if n.points is not None]
    total = sum(n.share for n, _ in faces)
    if square is None or not total:
        return frame
    made = repaint.draw(
        renderer.models.decoder,
        renderer.models.device,
        [n.image for n, _ in faces],
        [square] * len(faces),
        np.stack([points for _, points in faces]),
        np.stack([target] * len(faces)),
    )
    mixed = sum(new.astype(np.float32) * (n.share / total) for (n, _), new in zip(faces, made))
    head = np.rint(mixed).astype(np.uint8)
    return repaint.blend(frame, head, repaint.head_mask(square), square)
