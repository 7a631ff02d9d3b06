"""Train the face detector from scratch on composed pictures; measure what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.detection import BELIEVED_SCORE
from vasa_cli.models.blocks import channels_last, channels_last_weights
from vasa_cli.models.detector import REFERENCE_SIZE, SIDE, STRIDE, FaceDetector, decode_boxes
from vasa_cli.squares import to_tensor
from vasa_cli.training import augment, crops
from vasa_cli.training.heads import Head, read_heads, read_pool
from vasa_cli.training.loop import (
    Ahead,
    Average,
    Run,
    learning_rate,
    set_learning_rate,
)
from vasa_cli.training.scenes import GREY, Composer, Scene

N_CELLS = SIDE // STRIDE
HEAT_RADIUS = 0.25  # of the bump around a face's centre, in face heights
NEAR_HEAT = 0.3  # cells at least so hot also learn where the face is and how big
IGNORED_RADIUS = 0.6  # in heights of an ignored face
DISTORTED_SHARE = 0.5  # of a batch; the rest is as clean as most photographs
STRENGTH = 0.9  # of the distortion
WEIGH_EVERY = 500  # steps after which those heads are drawn more that are found least surely
N_STYLISED = 50  # pictures drawn in each style for the evaluation
# A face counts as found within so many heights, so much bigger or smaller.
NEAR_ENOUGH, SIZE_RATIO = 0.25, 1.5


@dataclass(frozen=True)
class Targets:
    """What the maps of a batch should be; cells first, (B, 32, 32)."""

    heat: Tensor  # 1 at the cell of a face's centre, falling off around it
    values: Tensor  # (B, 3, 32, 32) log size, x and y offset in cells, of the hottest face
    counted: Tensor  # 0 where the score is not judged

    def to(self, device: str) -> Targets:
        return Targets(self.heat.to(device), self.values.to(device), self.counted.to(device))


@dataclass(frozen=True)
class Figures:
    """How well a detector does at the renderer's threshold; recalls as shares of the pictures."""

    recall: float  # on photographs
    stylised_recall: float  # the mean over the styles
    recall_by_style: dict[str, float]
    centre_error: float  # mean over the faces found, in face heights
    size_error: float  # mean absolute logarithm of the ratio of heights
    extra_per_picture: float  # further faces reported on photographs of one
    false_per_picture: float  # faces reported on face-free pictures
    n_pictures: int
    n_face_free: int


def targets_of(faces: np.ndarray, ignored: np.ndarray) -> Targets:
    """The maps of one picture from faces (n, 3) and ignored ones (m, 3): x, y, height in pixels."""
    heat = np.zeros((N_CELLS, N_CELLS), np.float32)
    values = np.zeros((3, N_CELLS, N_CELLS), np.float32)
    counted = np.ones((N_CELLS, N_CELLS), np.float32)
    rows, columns = np.mgrid[:N_CELLS, :N_CELLS]
    for x, y, height in ignored / STRIDE:
        reach = max(IGNORED_RADIUS * height, 1.0)
        counted[np.hypot(columns + 0.5 - x, rows + 0.5 - y) < reach] = 0
    for x, y, height in faces / STRIDE:
        row, column = (int(np.clip(p, 0, N_CELLS - 1)) for p in (y, x))
        sigma = (2 * HEAT_RADIUS * height + 1) / 6
        bump = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2))
        hotter = bump > heat
        size = np.full_like(bump, np.log(height * STRIDE / REFERENCE_SIZE))
        truth = np.stack([size, x - columns - 0.5, y - rows - 0.5])
        values[:, hotter] = truth[:, hotter]
        heat[hotter] = bump[hotter]
        counted[row, column] = 1
    return Targets(torch.from_numpy(heat), torch.from_numpy(values), torch.from_numpy(counted))


def loss_of(maps: Tensor, targets: Targets) -> Tensor:
    """Penalty-reduced focal loss of the score and L1 of size and place near the centres, per face.

    Source: Objects as Points (CenterNet), equations 1 to 3.
    """
    heat, positive = targets.heat, (targets.heat == 1) & (targets.counted > 0)
    score = torch.sigmoid(maps[:, 0])
    found = (1 - score) ** 2 * F.logsigmoid(maps[:, 0])
    silent = (1 - heat) ** 4 * score**2 * F.logsigmoid(-maps[:, 0]) * targets.counted
    focal = -torch.where(positive, found, silent).sum() / positive.sum().clamp_min(1)
    near = heat * (heat >= NEAR_HEAT)
    distance = (maps[:, 1:] - targets.values).abs().sum(1)
    return focal + (distance * near).sum() / near.sum().clamp_min(1)


def to_batch(scenes: list[Scene], *, distorted: bool = True) -> tuple[Tensor, Targets]:
    """Pictures (B, 3, 256, 256) in [-1, 1] and their targets; letterboxing's grey stays."""
    pictures = to_tensor(np.stack([s.image for s in scenes]), torch.device("cpu"))
    if distorted:
        n = max(1, round(DISTORTED_SHARE * len(scenes)))
        hard = augment.distort(pictures[:n].contiguous(), strength=STRENGTH)
        pictures = torch.cat([hard, pictures[n:]])  # (B, 3, H, W)
        for picture, scene in zip(pictures, scenes):
            picture[:, scene.extent[0] :] = GREY / 127.5 - 1
            picture[:, :, scene.extent[1] :] = GREY / 127.5 - 1
    each = [targets_of(s.faces, s.ignored) for s in scenes]
    parts = (
        torch.stack([getattr(t, name) for t in each]) for name in ("heat", "values", "counted")
    )
    return channels_last(pictures), Targets(*parts)


def run_training(
    run: Run,
    composer: Composer,
    *,
    batch: int = 32,
    width: int = 32,
    rate: float = 1e-3,
    begin: Path | None = None,
) -> FaceDetector:
    """Train until the run's time is over; the averaged detector."""
    model = channels_last_weights(FaceDetector(width=width).to(run.device))
    run.begin_with(begin, "detector", model)
    average = Average(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.01)
    parts = {"model": model, "average": average, "optimiser": optimiser}
    run.resume(parts)
    composer.rng = np.random.default_rng(run.step)  # a resumed run sees new pictures
    mean, begun = 0.0, run.step
    with Ahead(lambda: to_batch([composer.scene() for _ in range(batch)])) as batches:
        while run.going:
            if run.step % WEIGH_EVERY == 0 or run.step == begun:
                scores = [head_scores(average.module, heads, batch) for heads in composer.pool]
                composer.weigh(scores)
                run.log(unsure=float(np.mean(np.concatenate(scores) < BELIEVED_SCORE)))
            set_learning_rate(optimiser, learning_rate(run.share_done, peak=rate))
            pictures, targets = batches.next()
            optimiser.zero_grad()
            with run.autocast():
                maps = model(pictures.to(run.device))
            loss = loss_of(maps, targets.to(run.device))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            average.update(model, run.step)
            run.step += 1
            now = float(loss.detach())
            mean = now if mean == 0 else 0.98 * mean + 0.02 * now
            if run.step % 50 == 0:
                run.log(loss=mean)
            run.save_if_due(parts)
    run.save(parts)
    return average.module  # type: ignore[return-value]


@torch.inference_mode()
def head_scores(model: torch.nn.Module, heads: list[Head], at_once: int) -> np.ndarray:
    """How surely the faces of heads are found, their crops being the picture: (n,) from 0 to 1."""
    device = next(model.parameters()).device
    model.eval()
    scores: list[float] = []
    for k in range(0, len(heads), at_once):
        part = [whole_scene(head) for head in heads[k : k + at_once]]
        pictures, _ = to_batch(part, distorted=False)
        for boxes, scene in zip(decode_boxes(model(pictures.to(device)), threshold=0.01), part):
            found = boxes.cpu().numpy()
            found = found[is_found(found, scene.faces[0])]
            scores.append(float(found[:, 3].max(initial=0.0)))
    model.train()
    return np.array(scores)


def whole_scene(head: Head) -> Scene:
    """What the camera saw of a head's crop, letterboxed."""
    side = head.image.shape[0]
    edges = (head.valid + 1) / 2 * side
    left, top, right, bottom = np.round(edges).astype(int)
    image, scale = letterbox(head.image[top:bottom, left:right])
    centre = ((head.centre + 1) / 2 * side - [left, top]) * scale
    face = np.array([[*centre, head.height / 2 * side * scale]], np.float32)
    extent = (round((bottom - top) * scale), round((right - left) * scale))
    return Scene(image, face, np.zeros((0, 3), np.float32), extent)


def train(
    folder: Path,
    cache: Path,
    *,
    minutes: float,
    device: str,
    batch: int = 32,
    width: int = 32,
    rate: float = 1e-3,
    begin: Path | None = None,
    max_steps: int = 10**9,
    report: Callable[[str], None] = print,
) -> FaceDetector:
    """Train on the crops of a cache, resuming from the folder or going on from weights.

    Returns: the averaged detector.

    With max_steps=2, width=8 and batch=4 a try takes seconds.
    """
    composer = Composer(read_pool(*crops.load_all(cache)))
    run = Run(folder, minutes, device, report=report, max_steps=max_steps)
    return run_training(run, composer, batch=batch, width=width, rate=rate, begin=begin)


def letterbox(image: np.ndarray) -> tuple[np.ndarray, float]:
    """A picture (H, W, 3) as the renderer shows it to the detector, and its scale."""
    scale = SIDE / max(image.shape[:2])
    height, width = (max(1, round(n * scale)) for n in image.shape[:2])
    filter_ = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    tile = np.full((SIDE, SIDE, 3), GREY, np.uint8)
    tile[:height, :width] = np.asarray(Image.fromarray(image).resize((width, height), filter_))
    return tile, scale


def strong_colour(images: Tensor) -> Tensor:
    """Doubled saturation under one of a few casts, as in posters."""
    mean = images.mean(1, keepdim=True)
    cast = augment.per_image(images, -0.5, 0.5, channels=3)
    return (mean + (images - mean) * 2 + cast).clamp(-1, 1)


STYLES: dict[str, Callable[[Tensor], Tensor]] = {
    "paint": augment.paint,
    "sketch": augment.sketch,
    "posterise": augment.posterise,
    "grey": augment.grey,
    "strong colour": strong_colour,
}


@torch.inference_mode()
def detect(detector: FaceDetector, pictures: Tensor, *, at_once: int = 32) -> list[np.ndarray]:
    """Faces (n, 4) of every picture (B, 3, 256, 256): x, y, height in pixels, score."""
    device = next(detector.parameters()).device
    found: list[np.ndarray] = []
    for part in pictures.split(at_once):
        maps = detector(channels_last(part.to(device)))
        found += [b.cpu().numpy() for b in decode_boxes(maps, threshold=BELIEVED_SCORE)]
    return found


def is_found(boxes: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Which of the boxes (n, 4) are the face (3,)."""
    near = np.hypot(*(boxes[:, :2] - face[:2]).T) < NEAR_ENOUGH * face[2]
    alike: np.ndarray = near & (np.abs(np.log(boxes[:, 2] / face[2])) < np.log(SIZE_RATIO))
    return alike


def validation_scenes(portraits: crops.Crops) -> list[Scene]:
    """Every validation portrait, as far as its crop saw it, letterboxed."""
    rows = np.flatnonzero(portraits.validation)
    return [whole_scene(head) for head in read_heads(portraits, rows, portraits.side)]


def recall(found: list[np.ndarray], scenes: list[Scene]) -> float:
    """The share of pictures whose face is among what was found."""
    return float(np.mean([is_found(b, s.faces[0]).any() for b, s in zip(found, scenes)]))


def evaluate(
    detector: FaceDetector, portraits: crops.Crops, face_free: list[np.ndarray], *, seed: int = 0
) -> Figures:
    """Recall on validation portraits, plain and stylised; false faces on (H, W, 3) uint8."""
    scenes = validation_scenes(portraits)
    pictures, _ = to_batch(scenes, distorted=False)
    found = detect(detector, pictures)
    errors = [
        (np.hypot(*(b[:2] - s.faces[0, :2])) / s.faces[0, 2], abs(np.log(b[2] / s.faces[0, 2])))
        for boxes, s in zip(found, scenes)
        for b in boxes[is_found(boxes, s.faces[0])][:1]
    ]
    centre_error, size_error = np.mean(errors, 0) if errors else (float("nan"),) * 2
    extra = [len(b) - bool(is_found(b, s.faces[0]).any()) for b, s in zip(found, scenes)]
    by_style = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rows = torch.randperm(len(scenes))[:N_STYLISED]
        chosen = [scenes[k] for k in rows]
        for name, style in STYLES.items():
            by_style[name] = recall(detect(detector, style(pictures[rows]).clamp(-1, 1)), chosen)
    false = 0
    if face_free:
        tiles = np.stack([letterbox(image)[0] for image in face_free])
        false = sum(len(b) for b in detect(detector, to_tensor(tiles, torch.device("cpu"))))
    return Figures(
        recall=recall(found, scenes),
        stylised_recall=float(np.mean(list(by_style.values()))),
        recall_by_style=by_style,
        centre_error=float(centre_error),
        size_error=float(size_error),
        extra_per_picture=float(np.mean(extra)),
        false_per_picture=false / len(face_free) if face_free else float("nan"),
        n_pictures=len(scenes),
        n_face_free=len(face_free),
    )
