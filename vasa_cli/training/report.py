"""Figures of the trained parts on validation people, as the model card gives them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable

import numpy as np
import torch

from vasa_cli.face import FaceReader
from vasa_cli.geometry import (
    LIPS,
    LOWER_LIDS,
    UPPER_LIDS,
    Geometry,
    align,
    project,
    rotation_angles,
)
from vasa_cli.motion import from_video, perform
from vasa_cli.squares import Window
from vasa_cli.training import crops
from vasa_cli.training.data import Item, load_frame, load_labels

LIDS_AND_LIPS = (
    LIPS + UPPER_LIDS["left"] + UPPER_LIDS["right"] + LOWER_LIDS["left"] + LOWER_LIDS["right"]
)
FRAMES_PER_CLIP = 4
TOUCHING = 0.012  # inner lips closer than this share of the face's height touch
Found = dict[str, float]


def sample_frames(items: list[Item], *, validation: bool = True) -> list[tuple[Item, int]]:
    """A few frames of every validation item in which the teacher found a face."""
    chosen = []
    for item in items:
        if item.validation != validation:
            continue
        seen = np.flatnonzero(load_labels(item).found)
        n = min(len(seen), 1 if item.kind == "picture" else FRAMES_PER_CLIP)
        if n:
            picks = np.linspace(0, len(seen) - 1, n).astype(int)
            chosen += [(item, int(seen[k])) for k in picks]
    return chosen


def encoder_figures(reader: FaceReader, items: list[Item], *, limit: int | None = None) -> Found:
    """Detector and encoder together against the teacher, on whole pictures."""
    errors, parts, angles, times, missed = [], [], [], [], 0
    frames = sample_frames(items)
    if limit:
        frames = frames[:: max(1, len(frames) // limit)]
    for item, index in frames:
        picture, true = load_frame(item, index), load_labels(item).points[index].astype(np.float64)
        started = time.perf_counter()
        faces = reader.detect(picture)
        near = [
            f
            for f in faces
            if np.hypot(*(np.array([f.x, f.y]) - true[:468, :2].mean(0))) < 0.5 * f.height
        ]
        if not near:
            missed += 1
            continue
        found = reader.read_points(picture, near[0])
        times.append(time.perf_counter() - started)
        width = np.linalg.norm(true[33, :2] - true[263, :2])
        distance = np.linalg.norm(found[:, :2] - true[:, :2], axis=1) / width
        errors.append(distance.mean())
        parts.append(distance[list(LIDS_AND_LIPS)].mean())
        poses = [rotation_angles(align(p[None], reader.geometry.mean)[1])[0] for p in (found, true)]
        angles.append(np.abs(poses[0] - poses[1]))
    yaw, pitch, roll = np.mean(angles, 0)
    return {
        "frames": float(len(frames)),
        "faces_missed": float(missed),
        "mean_error": float(np.mean(errors)),
        "median_error": float(np.median(errors)),
        "lips_and_lids_error": float(np.mean(parts)),
        "yaw_deg": float(yaw),
        "pitch_deg": float(pitch),
        "roll_deg": float(roll),
        "median_ms": float(np.median(times) * 1000),
    }


def geometry_figures(geometry: Geometry, items: list[Item]) -> Found:
    """How well the bases explain faces, and whether lips that touch still touch on another face."""
    residuals = []
    for item, index in sample_frames(items):
        points = load_labels(item).points[index].astype(np.float64)
        scale, rotation, translation = align(points[None], geometry.mean)
        window = Window(float(translation[0, 0]), float(translation[0, 1]), float(scale[0]))
        code = geometry.fit(window.to_crop(points))
        plain = geometry.neutral(code.identity) + geometry.displacement(code.dynamics)
        canonical = plain + code.detail
        height = np.linalg.norm(canonical[10] - canonical[152])
        residuals.append(np.linalg.norm((canonical - plain)[:, :2], axis=1).mean() / height)
    return {
        "faces": float(len(residuals)),
        "mean_residual": float(np.mean(residuals)),
        "p95_residual": float(np.percentile(residuals, 95)),
    } | lips_kept(geometry, items)


def lips_kept(geometry: Geometry, items: list[Item]) -> Found:
    """How often lips that touch in a clip touch on another face too, as a share of frames.

    Measured on up to 20 clips and ten other faces.
    """
    held = [i for i in items if i.validation and i.kind in ("picture", "real")]
    whole = [i for i in held if load_labels(i).found.all()]
    portraits = [i for i in whole if i.kind == "picture"][:10]
    clips = [i for i in whole if i.kind == "real"][:20]
    codes = []
    for item in portraits:
        points = load_labels(item).points[0].astype(np.float64)
        scale, _, translation = align(points[None], geometry.mean)
        codes.append(geometry.fit((points - translation[0]) / scale[0]))
    kept = total = 0
    for item in clips:
        labels = load_labels(item)
        centre, half = crops.window(labels, geometry)
        points = crops.to_crop_units(labels.points, centre, half).astype(np.float64)
        _, head_pose, dynamics = geometry.fit_sequence(points)
        touching = inner_gap(points) < TOUCHING
        if not touching.any():
            continue
        motion = from_video(head_pose, dynamics)
        for code in codes:
            gap = inner_gap(perform(motion, code, geometry)[touching])
            kept, total = kept + int((gap < 1.5 * TOUCHING).sum()), total + len(gap)
    return {"lips_frames": float(total), "lips_still_touch": kept / max(total, 1)}


def inner_gap(points: np.ndarray) -> np.ndarray:
    """Gap of the inner lips (T,) in face heights."""
    height = np.linalg.norm(points[:, 10] - points[:, 152], axis=1)
    return np.linalg.norm(points[:, 13] - points[:, 14], axis=1) / height


def pose_round_trip(geometry: Geometry, *, n: int = 200, seed: int = 0) -> Found:
    """Largest error in degrees of poses read back from the points they were given to."""
    rng = np.random.default_rng(seed)
    poses = np.concatenate(
        [
            rng.uniform(-30, 30, (n, 3)),
            rng.uniform(-0.1, 0.1, (n, 2)),
            rng.uniform(0.8, 1.25, (n, 1)),
        ],
        1,
    )
    points = project(poses, np.broadcast_to(geometry.mean, (n, *geometry.mean.shape)))
    back = rotation_angles(align(points, geometry.mean)[1])
    return {"pose_round_trip_deg": float(np.abs(back - poses[:, :3]).max())}


def report(
    reader: FaceReader, items: list[Item], *, limit: int | None, tell: Callable[[str], None]
) -> dict[str, Found]:
    """Encoder and geometry figures on portraits and clips."""
    pictures = [i for i in items if i.kind == "picture"]
    clips = [i for i in items if i.kind != "picture"]
    found: dict[str, Found] = {}
    with torch.inference_mode():
        for name, some in (("portraits", pictures), ("clips", clips)):
            if any(i.validation for i in some):
                found[name] = encoder_figures(reader, some, limit=limit)
                tell(f"{name}: {found[name]}")
    found["geometry"] = geometry_figures(reader.geometry, items) | pose_round_trip(reader.geometry)
    tell(f"geometry: {found['geometry']}")
    return found


def face_free_pictures(folder: Path) -> list[Path]:
    """Pictures that show no face, for counting false alarms."""
    return sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in {".png", ".jpg", ".jpeg", ".tif", ".webp"}
    )
