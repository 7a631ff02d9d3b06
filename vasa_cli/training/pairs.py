"""Pairs of frames of one clip for the decoder: chosen for what is hard, placed and lit alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli import irises
from vasa_cli.geometry import EYES, Geometry
from vasa_cli.training import augment
from vasa_cli.training.crops import Crops
from vasa_cli.training.shut import Shut

# shares of how a pair is chosen among a few random frames of a clip
CHOICES = (
    ("closed_to_open", 0.38),
    ("open_to_closed", 0.12),
    ("open_to_shut_eyes", 0.22),
    ("turned", 0.13),
    ("any", 0.15),
)
# the same where the motion field is trained, which has most to learn of heads that turn and nod
FIELD_CHOICES = (
    ("closed_to_open", 0.22),
    ("open_to_closed", 0.10),
    ("open_to_shut_eyes", 0.13),
    ("turned", 0.27),
    ("nodded", 0.20),
    ("any", 0.08),
)
# and where eyes alone are trained: few people look aside
EYE_CHOICES = (("open_to_shut_eyes", 0.25), ("looked", 0.40), ("turned", 0.15), ("any", 0.20))
CANDIDATES = 8
GROUPS_TRIED = 3
REAL_SHARE = 0.65  # of clips that were filmed
SHUT_SHARE = 0.85  # of pictures, where some have their lips shut
SPOKEN_SHARE = 0.5  # of those
FLIP_SHARE, PLACE_SHARE, COLOUR_SHARE, PAINT_SHARE = 0.5, 0.4, 0.5, 0.08


@dataclass(frozen=True)
class Pair:
    """A batch of pairs: a photo and the frame it is to become."""

    photo: Tensor  # (B, 3, S, S) in [-1, 1]
    source: Tensor  # (B, 478, 3) the photo's points in crop units
    target: Tensor  # (B, 3, S, S)
    points: Tensor  # (B, 478, 3) the target's
    valid: Tensor  # (B, 1, S, S) 1 where a loss makes sense


def choices_for(parts: Sequence[str]) -> Sequence[tuple[str, float]]:
    """How pairs are chosen where these parts of the decoder are trained."""
    if "motion" in parts:
        return FIELD_CHOICES
    return CHOICES if "mouth" in parts else EYE_CHOICES


def openings(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mouth and eye opening (N,) in face heights."""
    height = np.linalg.norm(points[:, 10] - points[:, 152], axis=-1)
    mouth = np.linalg.norm(points[:, 13] - points[:, 14], axis=-1) / height
    eyes = [
        np.linalg.norm(points[:, a] - points[:, b], axis=-1) for a, b in ((159, 145), (386, 374))
    ]
    return mouth, (eyes[0] + eyes[1]) / 2 / height


def looks(points: np.ndarray) -> np.ndarray:
    """How far irises of points (N, 478, 3) stand to the right in both eyes, (N,) in eye widths."""
    aside = []
    for eye in EYES.values():
        left, right = (points[:, corner, :2] for corner in eye["corners"])
        across, off = right - left, points[:, eye["iris"][0], :2] - (left + right) / 2
        aside.append((off * across).sum(1) / np.maximum((across**2).sum(1), 1e-9))
    return np.mean(aside, 0)


class PairSampler:
    """Draws pairs from clips, or from pictures whose names say that they show the same person."""

    def __init__(
        self,
        source: Crops,
        geometry: Geometry,
        *,
        validation: bool,
        seed: int,
        shut: Shut | None = None,
        spoken: Shut | None = None,
        choices: Sequence[tuple[str, float]] = CHOICES,
    ) -> None:
        """Args: shut and spoken: the source's pictures that show teeth, with their lips shut and
        parted as in speech, to draw from as well; choices, shares of how a pair is chosen."""
        self.choices, self.shares = zip(*choices)
        self.crops, self.rng = source, np.random.default_rng(seed)
        self.shut, self.spoken = shut, spoken
        self.mirror = torch.from_numpy(geometry.mirror_index())
        self.mouth, self.eyes = openings(source.points)
        across = source.points[:, [263, 362]].mean(1) - source.points[:, [33, 133]].mean(1)
        self.turn = np.arctan2(across[:, 2], across[:, 0])
        down = source.points[:, 152] - source.points[:, 10]
        self.nod = np.arctan2(down[:, 2], down[:, 1])
        self.look = looks(source.points)
        rows = np.flatnonzero(source.validation == validation)
        groups = self._groups(source, rows)
        self.real = [g for g in groups if source.real[g[0]]] or groups
        self.made = [g for g in groups if not source.real[g[0]]] or self.real

    @staticmethod
    def _groups(source: Crops, rows: np.ndarray) -> list[np.ndarray]:
        """The rows of each clip or person."""
        persons: dict[str, list[int]] = {}
        for row in rows:
            name = source.names[source.clip[row]].replace("_neutral", "").replace("_smiling", "")
            persons.setdefault(name, []).append(int(row))
        return [np.array(g) for g in persons.values()]

    def choose(self) -> tuple[int, int]:
        """Rows of a source and a driving frame."""
        pool = self.real if self.rng.random() < REAL_SHARE else self.made
        how = self.rng.choice(self.choices, p=self.shares)
        angle = {"turned": self.turn, "nodded": self.nod, "looked": self.look}.get(how)
        some = self._some(pool)
        if angle is not None:  # most heads and eyes hardly move: the liveliest of a few
            tried = [some, *(self._some(pool) for _ in range(GROUPS_TRIED - 1))]
            some = max(tried, key=lambda rows: np.ptp(angle[rows]))
            order = some[np.argsort(angle[some])][:: self.rng.choice([-1, 1])]
        elif how in ("closed_to_open", "open_to_closed"):
            order = some[np.argsort(self.mouth[some])]
        elif how == "open_to_shut_eyes":
            order = some[np.argsort(-self.eyes[some])]
        else:
            order = some
        if how == "open_to_closed":
            order = order[::-1]
        return int(order[0]), int(order[-1])

    def _some(self, pool: list[np.ndarray]) -> np.ndarray:
        """A few random rows of a random clip or person."""
        group = pool[self.rng.integers(len(pool))]
        return self.rng.choice(group, min(CANDIDATES, len(group)), replace=False)

    def draw(self, n: int) -> Pair:
        """A batch of n pairs, augmented."""
        pictures, faces, boxes = zip(*(self._pick() for _ in range(n)))
        images = torch.from_numpy(np.concatenate(pictures))
        images = images.permute(0, 3, 1, 2).float() / 127.5 - 1  # (2 n, 3, S, S)
        points = irises.found(images, torch.from_numpy(np.concatenate(faces)))
        valid = valid_mask(torch.from_numpy(np.stack(boxes)), images.shape[-1])
        images, points, valid = self._place(images, points, valid)
        images = colour_alike(images)
        return Pair(images[::2], points[::2], images[1::2], points[1::2], valid)

    def _pick(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images (2, S, S, 3), points (2, 478, 3) and the camera's view of one pair."""
        crops, shut = self.crops, self.shut
        if shut is not None and len(shut.rows) and self.rng.random() < SHUT_SHARE:
            k = int(self.rng.integers(len(shut.rows)))
            row = shut.rows[k]
            image, points = crops.images[row], crops.points[row]
            if self.spoken is not None and self.rng.random() < SPOKEN_SHARE:
                image, points = self.spoken.images[k], self.spoken.points[k]
            images = np.stack([shut.images[k], image])
            return images, np.stack([shut.points[k], points]), crops.valid[row]
        rows = list(self.choose())
        return crops.images[rows], crops.points[rows], crops.valid[rows[1]]

    def _place(
        self, images: Tensor, points: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mirror, turn, scale and shift; both frames of a pair alike."""
        n = len(valid)
        flip = (torch.rand(n) < FLIP_SHARE).repeat_interleave(2)
        images, points, valid = images.clone(), points.clone(), valid.clone()
        images[flip] = images[flip].flip(-1)
        valid[flip[::2]] = valid[flip[::2]].flip(-1)
        points[flip] = points[flip][:, self.mirror] * torch.tensor([-1.0, 1.0, 1.0])
        chosen = torch.rand(n) < PLACE_SHARE
        if chosen.any():
            both = chosen.repeat_interleave(2)
            affine = random_affine(int(chosen.sum()))
            twice = affine.repeat_interleave(2, 0)
            images[both] = apply_affine(images[both], twice)
            valid[chosen] = apply_affine(valid[chosen], affine, padding="zeros")
            points[both] = move_points(points[both], twice)
        return images, points, valid


def valid_mask(boxes: Tensor, side: int) -> Tensor:
    """(B, 1, S, S) with 1 inside boxes (B, 4) in crop units."""
    line = (torch.arange(side) + 0.5) / side * 2 - 1
    x = (line > boxes[:, :1] + 0.01) & (line < boxes[:, 2:3] - 0.01)
    y = (line > boxes[:, 1:2] + 0.01) & (line < boxes[:, 3:] - 0.01)
    return (x[:, None, :] & y[:, :, None])[:, None].float()


def random_affine(n: int) -> Tensor:
    """Affine maps (n, 2, 3) from the new picture's units to the old's.

    Turns to 20 degrees, scales 0.8 to 1.2, shifts to 0.15.
    """
    angle = torch.empty(n).uniform_(-math.radians(20), math.radians(20))
    scale = torch.empty(n).uniform_(0.8, 1.2)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    shift = torch.empty(n, 2).uniform_(-0.15, 0.15)
    return torch.stack(
        [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1
    )


def apply_affine(images: Tensor, affine: Tensor, *, padding: str = "border") -> Tensor:
    """Images (B, C, H, W) moved by maps (B, 2, 3) from the new picture's units to the old's."""
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, padding_mode=padding)


def move_points(points: Tensor, affine: Tensor) -> Tensor:
    """Points (B, 478, 3) of the old picture in the new one."""
    linear = affine[:, :, :2]
    flat = (points[..., :2] - affine[:, None, :, 2]) @ torch.linalg.inv(linear).transpose(1, 2)
    scale = torch.det(linear).sqrt()[:, None, None]
    return torch.cat([flat, points[..., 2:] / scale], -1)


def colour_alike(images: Tensor) -> Tensor:
    """Recolour pairs (2 n, 3, S, S), both frames of a pair in the same way."""
    wide = torch.cat([images[::2], images[1::2]], -1)
    operations = (
        (augment.light, 0.3),
        (augment.colour, COLOUR_SHARE),
        (augment.grey, 0.1),
        (augment.paint, PAINT_SHARE),
    )
    for operation, share in operations:
        chosen = torch.rand(len(wide)) < share
        if chosen.any():
            wide[chosen] = operation(wide[chosen])
    wide = wide.clamp(-1, 1)
    side = images.shape[-1]
    return torch.stack([wide[..., :side], wide[..., side:]], 1).flatten(0, 1)
