"""What each emotion does to a face, from labels alone: one regression, no gradient.

An emotion is written down as facial action units (Ekman and Friesen 1978; their prototypes): scores
of the teacher's blend shapes, and the measures that the explicit dynamics move. The direction is
then the face that is likeliest, over the frames of all clips, where those units are so and the lips
and eyes stay where they are: the conditional mean of a normal distribution. Frames count as changes
from their own clip's mean, so that no direction says who somebody is; each counts twice, once
mirrored, so that no side is preferred.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Callable, Mapping

import numpy as np

from vasa_cli.control_values import EMOTIONS
from vasa_cli.emotion import Emotions
from vasa_cli.errors import InputError
from vasa_cli.geometry import (
    EXPLICIT,
    LOWER_INNER_LIP,
    N_DYNAMICS,
    UPPER_INNER_LIP,
    Geometry,
    measure_matrix,
    point_weights,
)
from vasa_cli.training.crops import to_crop_units, window
from vasa_cli.training.data import Item, load_labels

MAX_FRAMES_PER_CLIP, MIN_FRAMES = 60, 8
BLINKING = 0.45  # score of a shut eye from which a frame is left out: lids would hide the rest
NOISE = 0.01  # share of the variance of a sign or score that is taken for noise
STILL_NOISE = 1e-3  # the same of what is to hold still
# The order of the teacher's 52 scores. Left and right are the person's own.
BLENDSHAPES = tuple(
    """_neutral browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff
    cheekSquintLeft cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight
    eyeLookInLeft eyeLookInRight eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight
    eyeSquintLeft eyeSquintRight eyeWideLeft eyeWideRight jawForward jawLeft jawOpen jawRight
    mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft mouthFrownRight mouthFunnel
    mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight mouthPucker
    mouthRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmileLeft
    mouthSmileRight mouthStretchLeft mouthStretchRight mouthUpperUpLeft mouthUpperUpRight
    noseSneerLeft noseSneerRight""".split()
)
STILL = ("gaze_yaw", "gaze_pitch", "mouth_open")  # no emotion moves these

EYE_CORNERS = (33, 133, 362, 263)
# Landmarks that show an action unit: what goes (up, or to the viewer's right) against what.
SIGNS: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    "inner_brows": (1, (107, 336, 55, 285), EYE_CORNERS),  # AU 1; AU 4 downward
    "outer_brows": (1, (70, 300, 46, 276), EYE_CORNERS),  # AU 2
    "brow_gap": (0, (336, 285), (107, 55)),  # AU 4 narrows it
    "nose_wings": (1, (98, 327, 64, 294), EYE_CORNERS),  # AU 9
    "cheeks": (1, (50, 280, 101, 330), EYE_CORNERS),  # AU 6
    "upper_lip": (1, (0, 37, 267), EYE_CORNERS),  # AU 10
    "corners": (1, (61, 291), (82, 13, 312)),  # AU 12; AU 15 downward
    "corner_right": (1, (291,), (61,)),  # AU 14 on one side
    "width": (0, (291,), (61,)),  # AU 20; AU 18 and 23 narrow it
}
LIDS = ("lid_right", "lid_left")


@dataclass(frozen=True)
class Recipe:
    """An emotion at full strength, as action units."""

    # SIGNS and lid_right and lid_left (AU 5, 7), in thousandths of the face's height
    signs: Mapping[str, float]
    scores: Mapping[str, float] = field(default_factory=dict)  # changes of blend-shape scores
    # By hand, since the clips are too few to tell: how the head hangs (yaw, pitch, roll in degrees)
    # and how much and how fast it moves, 1 as without.
    head: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tempo: float = 1.0


def both(name: str, score: float) -> dict[str, float]:
    """A score on both sides."""
    return {f"{name}Left": score, f"{name}Right": score}


def lids(opening: float) -> dict[str, float]:
    """Both lids by so much."""
    return {"lid_right": opening, "lid_left": opening}


RECIPES: dict[str, Recipe] = {
    # cheeks and lip corners up: AU 6, 12
    "happy": Recipe(
        {"corners": 14, "upper_lip": 12, "width": 42, "cheeks": 9} | lids(-8),
        both("mouthSmile", 0.6),
        head=(0.0, 1.5, 0.0),
        tempo=1.2,
    ),
    # inner brows up and together, lip corners down: AU 1, 4, 15
    "sad": Recipe(
        {"inner_brows": 22, "outer_brows": 4, "brow_gap": -8}
        | {"corners": -22, "upper_lip": 0, "nose_wings": 0, "width": -2}
        | lids(-13),
        head=(0.0, -4.0, 1.5),
        tempo=0.6,
    ),
    # brows down and together, lids tight, lips narrow: AU 4, 7, 23
    "angry": Recipe(
        {"inner_brows": -24, "outer_brows": -10, "brow_gap": -16}
        | {"corners": -12, "upper_lip": 0, "nose_wings": 0, "width": -14}
        | lids(-7),
        head=(0.0, -2.0, 0.0),
        tempo=1.25,
    ),
    # whole brows and upper lids up: AU 1, 2, 5
    "surprised": Recipe(
        {"inner_brows": 32, "outer_brows": 30, "brow_gap": 4}
        | {"corners": -4, "upper_lip": -2, "nose_wings": -1, "width": -10}
        | lids(28),
        head=(0.0, 2.0, 0.0),
        tempo=1.15,
    ),
    # brows up and together, lids up, lips stretched: AU 1, 2, 4, 5, 20
    "fearful": Recipe(
        {"inner_brows": 26, "outer_brows": 12, "brow_gap": -8}
        | {"corners": -14, "upper_lip": -2, "nose_wings": -1, "width": 22}
        | lids(24),
        head=(0.0, 1.0, 0.0),
        tempo=1.1,
    ),
    # brows down, nose wrinkled, upper lip up, corners left behind: AU 4, 9, 10, 15
    "disgusted": Recipe(
        {"inner_brows": -18, "outer_brows": -8, "brow_gap": -12, "nose_wings": 10}
        | {"upper_lip": 15, "corners": -20, "cheeks": 7, "width": -4}
        | lids(-15),
        head=(2.0, 0.5, 0.0),
        tempo=0.9,
    ),
    # one lip corner in and up: AU 12 and 14 on one side
    "contemptuous": Recipe(
        {"corner_right": 20, "corners": 6, "upper_lip": 3, "width": 10, "outer_brows": 3}
        | {"lid_right": -5, "lid_left": -9},
        head=(0.0, 2.5, -1.5),
        tempo=0.8,
    ),
}


@dataclass(frozen=True)
class Frames:
    """Frames of many clips, as changes from each clip's mean."""

    dynamics: np.ndarray  # (N, N_DYNAMICS)
    scores: np.ndarray  # (N, 52)

    def with_mirrored(self, geometry: Geometry) -> Frames:
        """The frames and the same again in a mirror."""
        names = [n.replace("Left", "@").replace("Right", "Left") for n in BLENDSHAPES]
        swap = [BLENDSHAPES.index(n.replace("@", "Right")) for n in names]
        mirrored = self.dynamics @ mirror_matrix(geometry).T
        return Frames(
            np.concatenate([self.dynamics, mirrored]),
            np.concatenate([self.scores, self.scores[:, swap]]),
        )


def learn(
    items: list[Item], geometry: Geometry, *, report: Callable[[str], None] = lambda line: None
) -> Emotions:
    """Every emotion's direction, from labelled clips and pairs of pictures.

    Raises: InputError when no clip has a face that moves.
    """
    frames = gather(items, geometry).with_mirrored(geometry)
    report(f"{len(frames.dynamics) // 2} frames")
    directions = np.zeros((len(EMOTIONS), N_DYNAMICS))
    head, tempo = np.zeros((len(EMOTIONS), 3)), np.ones(len(EMOTIONS))
    for name, recipe in RECIPES.items():
        k = EMOTIONS.index(name)
        directions[k] = likeliest(recipe, frames, geometry)
        head[k], tempo[k] = recipe.head, recipe.tempo
    smiles = smile_pairs(items, geometry)
    if len(smiles):
        k = EMOTIONS.index("happy")
        smile = smile_without_opening(smiles, geometry)
        report(f"{len(smiles)} smiles; cosine with happy {cosine(smile, directions[k]):.2f}")
        # as long as the recipe says, along the mean of both
        rest = (directions[k] + smile) / 2
        directions[k, len(EXPLICIT) :] = rest[len(EXPLICIT) :]
    return Emotions(directions, head, tempo)


def gather(items: list[Item], geometry: Geometry) -> Frames:
    """Frames of all clips, fitted, without those of blinks.

    Raises: InputError when there is none.
    """
    dynamics, scores = [], []
    for item in items:
        labels = load_labels(item)
        seen = np.flatnonzero(labels.found)
        if len(seen) < MIN_FRAMES:
            continue
        seen = seen[np.linspace(0, len(seen) - 1, min(len(seen), MAX_FRAMES_PER_CLIP)).astype(int)]
        points = to_crop_units(labels.points[seen], *window(labels, geometry))
        fitted, scored = geometry.fit_sequence(points)[2], labels.blendshapes[seen]
        shut = scored[:, [BLENDSHAPES.index(f"eyeBlink{side}") for side in ("Left", "Right")]]
        awake = shut.max(1) < BLINKING
        if awake.sum() >= MIN_FRAMES:
            dynamics.append(fitted[awake] - fitted[awake].mean(0))
            scores.append(scored[awake] - scored[awake].mean(0))
    if not dynamics:
        raise InputError("no clip to learn emotions from: none shows a face for eight frames")
    return Frames(np.concatenate(dynamics), np.concatenate(scores).astype(np.float64))


def sign_matrix(geometry: Geometry) -> np.ndarray:
    """How dynamics move the SIGNS, then both lids, in thousandths of the face's height.

    Returns: (len(SIGNS) + 2, N_DYNAMICS).
    """
    basis = geometry.dynamics_basis
    rows = []
    for axis, moving, against in SIGNS.values():
        change = basis[list(moving), axis].mean(0) - basis[list(against), axis].mean(0)
        rows.append(-change if axis else change)  # y points down
    measures = measure_matrix() @ basis.reshape(-1, N_DYNAMICS)
    rows += [measures[EXPLICIT.index(name)] for name in LIDS]
    return 1000 * np.stack(rows)


def likeliest(recipe: Recipe, frames: Frames, geometry: Geometry) -> np.ndarray:
    """The mean change (N_DYNAMICS,) of a face, given the recipe's signs and scores.

    What holds still does so exactly; signs and scores hold up to NOISE.
    """
    shown = frames.dynamics @ sign_matrix(geometry).T
    columns = [frames.dynamics[:, EXPLICIT.index(name), None] for name in STILL]
    columns.append(frames.dynamics @ lip_gaps(geometry).T)
    n_still = sum(column.shape[1] for column in columns)
    columns += [shown[:, [*SIGNS, *LIDS].index(name), None] for name in recipe.signs]
    columns += [frames.scores[:, BLENDSHAPES.index(name), None] for name in recipe.scores]
    seen = np.concatenate(columns, 1)
    wanted = np.array([0.0] * n_still + [*recipe.signs.values(), *recipe.scores.values()])
    covariance = seen.T @ seen / len(seen)
    noise = np.where(np.arange(len(wanted)) < n_still, STILL_NOISE, NOISE)
    covariance += np.diag(noise * covariance.diagonal())
    joint = frames.dynamics.T @ seen / len(seen)  # (N_DYNAMICS, K)
    direction = np.asarray(joint @ np.linalg.solve(covariance, wanted))
    direction[[EXPLICIT.index(name) for name in STILL]] = 0.0
    return direction


def lip_gaps(geometry: Geometry) -> np.ndarray:
    """How dynamics open the inner lips along the mouth, (9, N_DYNAMICS), in face heights."""
    basis = geometry.dynamics_basis
    return np.asarray(basis[list(LOWER_INNER_LIP), 1] - basis[list(UPPER_INNER_LIP), 1])


def smile_pairs(items: list[Item], geometry: Geometry) -> np.ndarray:
    """Changes (N, N_DYNAMICS) from X_neutral to X_smiling, pictures of the same person."""
    fitted: dict[str, dict[str, np.ndarray]] = {"neutral": {}, "smiling": {}}
    for item in items:
        named = re.fullmatch(r"(.+)_(neutral|smiling)", item.path.stem)
        labels = load_labels(item) if named and item.kind == "picture" else None
        if named and labels and labels.found[0]:
            points = to_crop_units(labels.points[:1], *window(labels, geometry))
            fitted[named[2]][named[1]] = geometry.fit(points[0]).dynamics
    people = sorted(set(fitted["neutral"]) & set(fitted["smiling"]))
    pairs = [fitted["smiling"][who] - fitted["neutral"][who] for who in people]
    return np.array(pairs).reshape(-1, N_DYNAMICS)


def smile_without_opening(smiles: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The mean smile (N_DYNAMICS,) of those who keep the mouth shut, by a regression, symmetric."""
    opening = smiles[:, EXPLICIT.index("mouth_open")]
    terms = np.stack([np.ones(len(smiles)), opening], 1)
    smile = np.linalg.lstsq(terms, smiles, rcond=None)[0][0]
    return (smile + mirror_matrix(geometry) @ smile) / 2


def mirror_matrix(geometry: Geometry) -> np.ndarray:
    """What dynamics become in a mirror, (N_DYNAMICS, N_DYNAMICS), as near as the basis comes."""
    weights = point_weights().reshape(-1, 1)
    mirrored = geometry.dynamics_basis[geometry.mirror_index()] * np.array([-1, 1, 1])[:, None]
    basis = geometry.dynamics_basis.reshape(-1, N_DYNAMICS)
    made = np.linalg.lstsq(basis * weights, mirrored.reshape(-1, N_DYNAMICS) * weights, rcond=None)
    return np.asarray(made[0])


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of the angle between two directions."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
