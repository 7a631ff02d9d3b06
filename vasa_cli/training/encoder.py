"""Train the face encoder: crops under hard augmentation to the teacher's points."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.face import FaceReader
from vasa_cli.geometry import CROP_FACE_HEIGHT, LIPS, Geometry
from vasa_cli.models.blocks import channels_last, channels_last_weights
from vasa_cli.models.encoder import (
    EYE_EXTENT,
    EYE_SIDE,
    FACE_EXTENT,
    FACE_SIDE,
    LEFT_EYE,
    LIPS_EXTENT,
    LIPS_SIDE,
    RIGHT_EYE,
    FaceEncoder,
)
from vasa_cli.models.fields import Patch, across_eyes, turned_square
from vasa_cli.training import crops
from vasa_cli.training.augment import distort
from vasa_cli.training.loop import (
    Ahead,
    Average,
    Run,
    learning_rate,
    set_learning_rate,
)
from vasa_cli.training.reread import load_all

PARTS = ("face", "lips", "eye")
LOSS_WEIGHTS = {"face": 1.0, "lips": 0.5, "eye": 0.3}
LOOSE_SHARE = 0.35  # of whole faces that are badly placed, as after a detector
# How much wider or taller whole faces and mouths are shown at most, and how far they lean: there
# are few people in the clips, and fewer who bow their heads.
STRETCH, LEAN = 0.1, 0.08
FAR_SHARE = 0.5  # of frames of clips that look farther aside than another of the same clip
IRIS = tuple(range(16, 21))  # of an eye's points; its corners come first
# Where errors turn from squares to sizes. At 0.02 irises were read at half their shift: what a
# regressor gives when its usual errors cost next to nothing.
BETA = 0.004
READ_SHARE = 0.5  # of an encoder's own points in what is learned, where one reads them
IRIS_WEIGHT, GAZE_WEIGHT = 3.0, 10.0  # of its points, and of its place between the corners


def uniform(n: int, low: float, high: float) -> Tensor:
    """Random numbers (n,) between two bounds."""
    return torch.empty(n).uniform_(low, high)


def place(
    points: Tensor, index: tuple[int, ...], extent: float, *, loose: Tensor, mirrored: bool = False
) -> Patch:
    """Squares around some of the points (B, 478, 3), shaken.

    Those marked loose (B,) err as a detector would, the others as a first pass would.
    """
    n = len(points)
    height = (points[:, 10, :2] - points[:, 152, :2]).norm(dim=-1).clamp_min(0.3)
    half = height * extent / 2 * torch.where(loose, uniform(n, 0.72, 1.4), uniform(n, 0.92, 1.08))
    reach = torch.where(loose, 0.25, 0.07)[:, None] * half[:, None]
    shake = reach * uniform(2 * n, -1, 1).view(n, 2)
    across = across_eyes(points)
    upright = torch.atan2(across[:, 1], across[:, 0])
    turn = torch.where(
        loose,
        uniform(n, -math.pi / 4, math.pi / 4) * uniform(n, 0, 1),
        upright + uniform(n, -0.1, 0.1),
    )
    return turned_square(points[:, index, :2].mean(1) + shake, half, turn, mirrored=mirrored)


def stretched(square: Patch) -> Patch:
    """Squares (B,) as slightly wide or tall parallelograms, so that faces in them are of others."""
    n = len(square.affine)
    wide, lean = uniform(n, -STRETCH, STRETCH).exp(), uniform(n, -LEAN, LEAN)
    right, down, centre = square.affine.unbind(-1)
    right = right * wide[:, None] + down * lean[:, None]
    return Patch(torch.stack([right, down, centre], -1))


class Sampler:
    """Batches of crops: half portraits, half frames of clips; from memory-mapped files.

    Clips are drawn as the roots of their lengths, and half of all is mirrored.
    """

    def __init__(
        self, sources: list[crops.Crops], mirror: np.ndarray, *, validation: bool, seed: int = 0
    ) -> None:
        """Args: mirror (478,), which point each point becomes in a mirrored face."""
        self.sources, self.mirror = sources, mirror
        self.clips: list[list[np.ndarray]] = []  # rows of every clip of every source
        for source in sources:
            rows = np.flatnonzero(source.validation == validation)
            self.clips.append(np.split(rows, np.flatnonzero(np.diff(source.clip[rows])) + 1))
        self.odds = [lengths / lengths.sum() for lengths in map(root_lengths, self.clips)]
        self.aside = [iris_offsets(source.points) for source in sources]
        self.rng = np.random.default_rng(seed)

    def row(self, k: int, rows: np.ndarray) -> int:
        """One row of source k among those of a clip."""
        one, other = self.rng.choice(rows, 2)
        if self.rng.random() < FAR_SHARE:
            usual = np.median(self.aside[k][rows], 0)
            far = np.abs(self.aside[k][[one, other]] - usual).sum(1)
            return int(one if far[0] > far[1] else other)
        return int(one)

    def draw(self, k: int, n: int) -> tuple[Tensor, Tensor]:
        """Images (n, 3, S, S) in [-1, 1] and points (n, 478, 3) from source k."""
        source, clips = self.sources[k], self.clips[k]
        numbers = self.rng.choice(len(clips), n, p=self.odds[k])
        chosen = np.sort([self.row(k, clips[c]) for c in numbers])
        images, points = np.ascontiguousarray(source.images[chosen]), source.points[chosen]
        turned = self.rng.random(n) < 0.5
        images[turned] = images[turned, :, ::-1]
        points[turned] = points[turned][:, self.mirror] * np.array([-1, 1, 1], np.float32)
        pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        return pictures, torch.from_numpy(points)


def root_lengths(clips: list[np.ndarray]) -> np.ndarray:
    """The root of how many rows each clip has."""
    return np.sqrt([len(rows) for rows in clips])


def iris_offsets(points: np.ndarray) -> np.ndarray:
    """How far the left eye's iris is off the middle of its corners, (N, 2) in eye widths."""
    start, end = points[:, LEFT_EYE[0], :2], points[:, LEFT_EYE[1], :2]
    offset = points[:, LEFT_EYE[IRIS[0]], :2] - (start + end) / 2
    return np.asarray(offset / np.linalg.norm(end - start, axis=1, keepdims=True))


def weights_of(points_index: tuple[int, ...] | None = None) -> Tensor:
    """How much each of 478 points counts in the loss."""
    weight = torch.ones(478)
    weight[list(LIPS)] = 3.0
    weight[list(LEFT_EYE + RIGHT_EYE)] = 3.0
    return weight if points_index is None else weight[list(points_index)]


def distance(found: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of a smooth absolute error of points (B, n, 3), depth at a third."""
    error = F.smooth_l1_loss(found, true, beta=BETA, reduction="none")
    error = error * torch.tensor([1.0, 1.0, 0.33], device=error.device)
    return (error.sum(-1) * weight).mean() / weight.mean()


def eye_distance(found: Tensor, true: Tensor) -> Tensor:
    """The error of eyes' points (B, 21, 3), irises and where they look counting most."""
    weight = torch.ones(found.shape[1], device=found.device)
    weight[list(IRIS)] = IRIS_WEIGHT
    seen, looks = (p[:, IRIS[0], :2] - p[:, :2, :2].mean(1) for p in (found, true))
    gaze = F.smooth_l1_loss(seen, looks, beta=BETA)
    return distance(found, true, weight) + GAZE_WEIGHT / found.shape[1] * gaze


def losses(
    model: FaceEncoder, images: Tensor, points: Tensor, run: Run, parts: tuple[str, ...] = PARTS
) -> Tensor:
    """Of the parts in training: whole face (some of the batch badly placed), lips, both eyes."""
    n = len(images)
    loose = torch.rand(n) < LOOSE_SHARE
    total = torch.zeros(())
    jobs = [
        ("face", tuple(range(468)), FACE_EXTENT, FACE_SIDE, tuple(range(478)), False),
        ("lips", LIPS, LIPS_EXTENT, LIPS_SIDE, LIPS, False),
        ("eye", LEFT_EYE, EYE_EXTENT, EYE_SIDE, LEFT_EYE, False),
        ("eye", RIGHT_EYE, EYE_EXTENT, EYE_SIDE, RIGHT_EYE, True),
    ]
    for part, around, extent, side, wanted, mirrored in jobs:
        if part not in parts:
            continue
        badly = loose if part == "face" else torch.zeros(n, dtype=torch.bool)
        square = place(points, around, extent, loose=badly, mirrored=mirrored)
        if part != "eye":  # an iris is round
            square = stretched(square)
        picture = distort(square.cut(images, side), strength=1.0 if part == "face" else 0.7)
        target = square.to_square_3d(points[:, wanted]).to(run.device)
        with run.autocast():
            found = getattr(model, part)(channels_last(picture.to(run.device)))
        if part == "eye":
            error = eye_distance(found, target)
        else:
            weight = weights_of() if part == "face" else torch.ones(len(wanted))
            error = distance(found, target, weight.to(run.device))
        total = total + LOSS_WEIGHTS[part] * error.to("cpu")
    return total


def run_training(
    run: Run,
    sources: list[crops.Crops],
    mirror: np.ndarray,
    *,
    batch: int = 64,
    width: int = 64,
    rate: float = 1.2e-3,
    parts: tuple[str, ...] = PARTS,
    begin: Path | None = None,
) -> FaceEncoder:
    """Train until the run's time is over; the averaged encoder."""
    model = channels_last_weights(FaceEncoder(width=width))
    start_at_mean(model, sources)
    run.begin_with(begin, "encoder", model)
    model = model.to(run.device)
    average = Average(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.01)
    kept = {"model": model, "average": average, "optimiser": optimiser}
    run.resume(kept)
    sampler, mean = Sampler(sources, mirror, validation=False, seed=run.step), 0.0
    share, kinds = batch // len(sources), range(len(sources))
    with Ahead(lambda: [sampler.draw(k, share) for k in kinds]) as ahead:
        while run.going:
            set_learning_rate(optimiser, learning_rate(run.share_done, peak=rate))
            optimiser.zero_grad()
            loss = torch.zeros(())
            for images, points in ahead.next():
                part = losses(model, images, points, run, parts) / len(sources)
                part.backward()
                loss = loss + part.detach()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            average.update(model, run.step)
            run.step += 1
            mean = float(loss) if mean == 0 else 0.98 * mean + 0.02 * float(loss)
            if run.step % 50 == 0:
                run.log(loss=mean)
            run.save_if_due(kept)
    run.save(kept)
    return average.module  # type: ignore[return-value]


def start_at_mean(model: FaceEncoder, sources: list[crops.Crops]) -> None:
    """Let every regressor begin at the mean of the points it is to find."""
    points = torch.from_numpy(
        np.concatenate([s.points[:: max(1, len(s.points) // 300)] for s in sources])
    )
    mean = points.mean(0)
    height = float((mean[10] - mean[152]).norm()) or CROP_FACE_HEIGHT

    def within(index: tuple[int, ...], extent: float) -> Tensor:
        part = mean[list(index)]
        centre = torch.cat([part[:, :2].mean(0), torch.zeros(1)])
        return (part - centre) / (height * extent / 2)

    model.start_from(
        within(tuple(range(478)), FACE_EXTENT),
        within(LIPS, LIPS_EXTENT),
        within(LEFT_EYE, EYE_EXTENT),
    )


def train(
    folder: Path,
    cache: Path,
    geometry: Geometry,
    *,
    minutes: float,
    device: str,
    batch: int,
    width: int,
    report: Callable[[str], None],
    rate: float = 1.2e-3,
    parts: tuple[str, ...] = PARTS,
    begin: Path | None = None,
    reader: FaceReader | None = None,
    max_steps: int = 10**9,
) -> FaceEncoder:
    """Train on a cache's crops, resuming from the folder; the averaged encoder.

    Args: reader, whose points are learned from as well as the teacher's.
    Raises: InputError when the cache holds no crops.
    """
    return run_training(
        Run(folder, minutes, device, report=report, max_steps=max_steps),
        list(load_all(cache, reader, report, share=READ_SHARE)),
        geometry.mirror_index(),
        batch=batch,
        width=width,
        rate=rate,
        parts=parts,
        begin=begin,
    )
