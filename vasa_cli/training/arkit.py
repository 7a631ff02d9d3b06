"""The linear map from dynamics to the teacher's blend-shape scores: one ridge regression."""

from __future__ import annotations

from typing import Any

import numpy as np

from vasa_cli.arkit import SHAPES, ArkitMap
from vasa_cli.errors import InputError
from vasa_cli.extraction import read_motion
from vasa_cli.geometry import N_DYNAMICS, Geometry
from vasa_cli.training.crops import to_crop_units, window
from vasa_cli.training.data import Item, load_labels

# The teacher's scores, in its order; the first, the neutral face, and the tongue are of no use.
TEACHER_SHAPES = (
    "_neutral",
    *"BrowDownLeft BrowDownRight BrowInnerUp BrowOuterUpLeft BrowOuterUpRight".split(),
    *"CheekPuff CheekSquintLeft CheekSquintRight EyeBlinkLeft EyeBlinkRight".split(),
    *"EyeLookDownLeft EyeLookDownRight EyeLookInLeft EyeLookInRight".split(),
    *"EyeLookOutLeft EyeLookOutRight EyeLookUpLeft EyeLookUpRight".split(),
    *"EyeSquintLeft EyeSquintRight EyeWideLeft EyeWideRight".split(),
    *"JawForward JawLeft JawOpen JawRight MouthClose MouthDimpleLeft MouthDimpleRight".split(),
    *"MouthFrownLeft MouthFrownRight MouthFunnel MouthLeft".split(),
    *"MouthLowerDownLeft MouthLowerDownRight MouthPressLeft MouthPressRight".split(),
    *"MouthPucker MouthRight MouthRollLower MouthRollUpper MouthShrugLower MouthShrugUpper".split(),
    *"MouthSmileLeft MouthSmileRight MouthStretchLeft MouthStretchRight".split(),
    *"MouthUpperUpLeft MouthUpperUpRight NoseSneerLeft NoseSneerRight".split(),
)
KNOWN = [k for k, name in enumerate(SHAPES) if name in TEACHER_SHAPES]
FRAMES_PER_CLIP = 24
LEAST_FRAMES = 10  # of a clip from which a person's neutral face is read
RIDGE = 0.003  # of the number of frames


def learn(items: list[Item], geometry: Geometry) -> tuple[ArkitMap, dict[str, Any]]:
    """The map, and how well it does on people it has not seen.

    Returns: the map and its figures: mean absolute error over shapes and frames, with each shape's
        own, and the number of frames.

    Raises: InputError when too few clips are labelled.
    """
    dynamics, scores = gather([i for i in items if not i.validation], geometry)
    learned = fit(dynamics, scores)
    figures: dict[str, Any] = {"frames": len(dynamics)}
    try:
        unseen, truth = gather([i for i in items if i.validation], geometry)
    except InputError:
        return learned, figures
    errors = np.abs(learned.scores(unseen) - truth)[:, KNOWN].mean(0)
    figures |= {
        "validation_frames": len(unseen),
        "mean_error": round(float(errors.mean()), 4),
        "errors": {SHAPES[k]: round(float(e), 4) for k, e in zip(KNOWN, errors)},
    }
    return learned, figures


def fit(dynamics: np.ndarray, scores: np.ndarray) -> ArkitMap:
    """Ridge regression of scores (N, 52) on dynamics (N, N_DYNAMICS); the bias is not shrunk."""
    mean, level = dynamics.mean(0), scores.mean(0)
    centred = dynamics - mean
    gram = centred.T @ centred + RIDGE * len(dynamics) * np.eye(N_DYNAMICS)
    weights = np.linalg.solve(gram, centred.T @ (scores - level))
    learned = ArkitMap(weights, level - mean @ weights, np.zeros(len(SHAPES)))
    noise = (learned.scores(dynamics) - scores).std(0)
    return ArkitMap(learned.weights, learned.bias, noise)


def gather(items: list[Item], geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Dynamics (N, N_DYNAMICS) of frames of clips, and the teacher's scores (N, 52) as in SHAPES.

    Raises: InputError when no clip has enough frames with a face.
    """
    order = [TEACHER_SHAPES.index(name) for name in SHAPES if name in TEACHER_SHAPES]
    found, scored = [], []
    for item in items:
        if item.kind == "picture":
            continue
        labels = load_labels(item)
        frames = np.flatnonzero(labels.found)
        if len(frames) < LEAST_FRAMES:
            continue
        n = min(len(frames), FRAMES_PER_CLIP)
        frames = frames[np.linspace(0, len(frames) - 1, n).astype(int)]
        points = to_crop_units(labels.points, *window(labels, geometry))[frames]
        code = geometry.fit_sequence(points)[0]
        found.append(read_motion(points, code, geometry)[1])
        scores = np.zeros((len(frames), len(SHAPES)))
        scores[:, KNOWN] = labels.blendshapes[frames][:, order]
        scored.append(scores)
    if not found:
        raise InputError("no labelled clip shows a face long enough; run vasa train prepare first")
    return np.concatenate(found), np.concatenate(scored)
