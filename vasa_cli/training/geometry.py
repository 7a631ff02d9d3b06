"""The latent's mean and bases from labelled clips and portraits.

Averages, regressions and two PCAs; no gradient.
"""

from __future__ import annotations

import numpy as np

from vasa_cli.config import N_LANDMARKS
from vasa_cli.geometry import (
    N_DYNAMICS,
    N_EXPLICIT,
    N_IDENTITY,
    RIGID,
    Geometry,
    align,
    face_measures,
    join_inner_lips,
    measure_matrix,
    mirrored_points,
    point_weights,
    rotation_angles,
    unalign,
)
from vasa_cli.training.data import Item, load_labels

MAX_FRAMES_PER_CLIP = 120
MAX_TURN_DEG = 25.0  # frames turned further are left out: the teacher's depth is weakest there
# depth of the turning point behind the rigid landmarks' mean, in face heights
HEAD_CENTRE_BEHIND_FACE = 0.42
HEAD_CENTRE_BELOW = 0.10


def learn(items: list[Item]) -> Geometry:
    """Mean, identity and dynamics bases of the given clips and pictures (labels only)."""
    faces, scores, clips = gather(items)  # (N, 478, 3) pixels, (N, 52), (N,) clip number
    mean = upright_mean(faces)
    canonical, keep = to_canonical(faces, mean)
    canonical, scores, clips = canonical[keep], scores[keep], clips[keep]
    starts = np.flatnonzero(np.diff(clips, prepend=-1))
    counts = np.diff(np.append(starts, len(clips)))
    clip_sums = np.add.reduceat(canonical.reshape(len(clips), -1), starts)
    clip_means = clip_sums / counts[:, None]  # (C, 1434)
    score_means = np.add.reduceat(scores, starts) / counts[:, None]
    moving = np.repeat(counts > 10, counts)
    deviations = (canonical.reshape(len(clips), -1) - np.repeat(clip_means, counts, 0))[moving]
    score_deviations = (scores - np.repeat(score_means, counts, 0))[moving]

    neutral = anchor_neutral(clip_means, score_means, deviations, score_deviations)
    mean_shape = join_inner_lips(neutral.mean(0).reshape(N_LANDMARKS, 3))
    mean_shape = (mean_shape + mean_shape[mirrored_points(mean)] * [-1, 1, 1]) / 2
    shapes = join_inner_lips(neutral.reshape(-1, N_LANDMARKS, 3)).reshape(len(neutral), -1)
    identity_basis = pca(shapes - mean_shape.reshape(-1), N_IDENTITY)
    dynamics_basis = learn_dynamics(deviations)
    geometry = Geometry(mean_shape, identity_basis, dynamics_basis, np.zeros((2, N_DYNAMICS)))
    return with_limits(
        geometry, canonical[moving], neutral, np.repeat(np.arange(len(counts)), counts)[moving]
    )


def gather(items: list[Item]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces (N, 478, 3) in pixels, blend-shape scores (N, 52), number of each one's item (N,)."""
    faces, scores, clips = [], [], []
    for number, item in enumerate(items):
        labels = load_labels(item)
        frames = np.flatnonzero(labels.found)
        if not len(frames):
            continue
        n = min(len(frames), MAX_FRAMES_PER_CLIP)
        frames = frames[np.linspace(0, len(frames) - 1, n).astype(int)]
        faces.append(labels.points[frames])
        scores.append(labels.blendshapes[frames])
        clips.append(np.full(len(frames), number))
    return np.concatenate(faces).astype(np.float64), np.concatenate(scores), np.concatenate(clips)


def upright_mean(faces: np.ndarray) -> np.ndarray:
    """Mean face (478, 3) of height 1, facing the viewer, its origin at the head's turning point."""
    mean = faces[0] - faces[0].mean(0)
    for _ in range(4):
        mean = unalign(faces, *align(faces, mean)).mean(0)
        mean = mean / np.linalg.norm(mean[10] - mean[152])
    mean = mean @ face_axes(mean)
    mean = mean - mean[list(RIGID)].mean(0)
    return mean - [0.0, HEAD_CENTRE_BELOW, HEAD_CENTRE_BEHIND_FACE]


def face_axes(points: np.ndarray) -> np.ndarray:
    """Columns: right, down and away axes (3, 3) of a face, from its eyes, ears, brow and chin."""
    right = points[[263, 362, 454, 356]].mean(0) - points[[33, 133, 234, 127]].mean(0)
    down = points[[152, 199, 17]].mean(0) - points[[10, 151, 9]].mean(0)
    right /= np.linalg.norm(right)
    away = np.cross(right, down)
    away /= np.linalg.norm(away)
    return np.stack([right, np.cross(away, right), away], 1)


def to_canonical(faces: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Faces without pose and size (N, 478, 3), and which face the viewer well enough (N,)."""
    scale, rotation, translation = align(faces, mean)
    angles = rotation_angles(rotation)
    return unalign(faces, scale, rotation, translation), np.abs(angles[:, :2]).max(1) < MAX_TURN_DEG


def anchor_neutral(
    clip_means: np.ndarray,
    score_means: np.ndarray,
    deviations: np.ndarray,
    score_deviations: np.ndarray,
) -> np.ndarray:
    """Each clip's neutral face (C, 1434): its mean less what its mean blend-shape scores explain.

    Within clips, points move linearly with the teacher's scores; taking that movement back to score
    0 gives closed lips and forward eyes even for a portrait that smiles throughout. Whatever gaze
    or gap is left is then regressed away exactly.
    """
    gram = score_deviations.T @ score_deviations
    per_score = np.linalg.solve(
        gram + 0.01 * len(deviations) * np.diag(gram.diagonal() / len(deviations) + 1e-4),
        score_deviations.T @ deviations,
    )
    neutral = clip_means - score_means @ per_score
    explicit, measures = explicit_directions(deviations), measure_matrix()
    left = neutral @ measures.T  # (C, N_EXPLICIT)
    target = np.median(left, 0)[None].repeat(len(left), 0)
    target[:, 4] = 0.0  # lips together
    own = [2, 3, 5, 6, 7]  # lids, mouth width, brows and corners stay this person's own
    target[:, own] = left[:, own]
    target[:, 0] = 0.0
    return neutral + (target - left) @ explicit.T


def explicit_directions(deviations: np.ndarray) -> np.ndarray:
    """How all points move with each measure, others held, (1434, N_EXPLICIT).

    measure_matrix() @ directions is the unit matrix.
    """
    moved = deviations @ measure_matrix().T  # (N, N_EXPLICIT)
    return np.linalg.solve(moved.T @ moved, moved.T @ deviations).T


def learn_dynamics(deviations: np.ndarray) -> np.ndarray:
    """The dynamics basis (478, 3, N_DYNAMICS) in standard deviations.

    Explicit directions come first, principal components after.
    """
    measures, explicit = measure_matrix(), explicit_directions(deviations)
    moved = deviations @ measures.T
    rest = deviations - moved @ explicit.T
    components = pca(rest, N_DYNAMICS - N_EXPLICIT).reshape(rest.shape[1], -1)
    basis = np.concatenate([explicit * moved.std(0), components], 1)
    # exactly no effect on any measure
    basis[:, N_EXPLICIT:] -= explicit @ (measures @ basis[:, N_EXPLICIT:])
    return basis.reshape(N_LANDMARKS, 3, N_DYNAMICS)


def pca(rows: np.ndarray, n_components: int) -> np.ndarray:
    """Leading components (478, 3, n) of weighted rows (N, 1434), one standard deviation each."""
    weights = point_weights().reshape(-1)
    weighted = rows * weights
    values, vectors = np.linalg.eigh(weighted.T @ weighted / len(rows))
    order = np.argsort(values)[::-1][:n_components]
    basis = vectors[:, order] * np.sqrt(np.maximum(values[order], 1e-12)) / weights[:, None]
    return basis.reshape(N_LANDMARKS, 3, n_components)


def with_limits(
    geometry: Geometry, canonical: np.ndarray, neutral: np.ndarray, clip: np.ndarray
) -> Geometry:
    """The same geometry with the 0.2 and 99.8 percentiles of the dynamics it was learned from."""
    weights = point_weights().reshape(-1)
    basis = geometry.dynamics_basis.reshape(-1, N_DYNAMICS)
    moved = canonical.reshape(len(canonical), -1) - neutral[clip]
    weighted = basis * weights[:, None]
    solver = np.linalg.solve(
        weighted.T @ weighted + 1e-3 * np.eye(N_DYNAMICS), weighted.T * weights
    )
    limits = np.percentile(moved @ solver.T, [0.2, 99.8], axis=0)
    return Geometry(geometry.mean, geometry.identity_basis, geometry.dynamics_basis, limits)


def residual(geometry: Geometry, faces: np.ndarray) -> np.ndarray:
    """Mean distance (N,) between faces and their fit without detail, in face heights."""
    shifted = []
    for face in faces:
        code = geometry.fit(face)
        plain = geometry.neutral(code.identity) + geometry.displacement(code.dynamics)
        seen = plain + code.detail
        distance = np.linalg.norm((seen - plain)[..., :2], axis=-1).mean()
        shifted.append(distance / np.linalg.norm(seen[10] - seen[152]))
    return np.array(shifted)


def measures_of(geometry: Geometry) -> np.ndarray:
    """The neutral mean face's measures, for reports."""
    return face_measures(geometry.mean)
