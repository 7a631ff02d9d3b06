"""Parts of a motion: head, eyes, lips and expression; together they are the whole of it.

Some dynamics belong to one part by their meaning. Each of the others moves the whole face a
little: it is shared out by where on the face it moves points, and what each part of it would be
fitted by is a matrix, the same for every frame.
"""

from __future__ import annotations

import numpy as np

from vasa_cli.geometry import (
    EXPLICIT,
    EYES,
    LIPS,
    N_DYNAMICS,
    N_EXPLICIT,
    N_HEAD_POSE,
    Geometry,
    point_weights,
)

OWNERS = {
    "eyes": ("gaze_yaw", "gaze_pitch", "lid_right", "lid_left"),
    "lips": ("mouth_open", "mouth_width"),
    "expression": ("brow_height", "corner_lift"),
}
NOSE_BASE, UPPER_LIP = 2, 0  # landmarks between which the lower face begins
EYE_REACH = (0.08, 0.13)  # face heights around each eye: all its own up to the first, none beyond
RIDGE = 0.002


def lower_face(geometry: Geometry) -> np.ndarray:
    """How much each point belongs to mouth, jaw and chin, (478,): 0 from the nose up."""
    y = geometry.mean[:, 1]
    inside = smoothstep((y - y[NOSE_BASE]) / (y[UPPER_LIP] - y[NOSE_BASE]))
    inside[list(LIPS)] = 1.0
    return inside


def around_eyes(geometry: Geometry) -> np.ndarray:
    """How much each point belongs to lids and irises, (478,)."""
    points = geometry.mean[:, :2]
    middles = np.stack([points[list(eye["corners"])].mean(0) for eye in EYES.values()])
    away = np.linalg.norm(points[:, None] - middles, axis=-1).min(1)
    near, far = EYE_REACH
    return 1 - smoothstep((away - near) / (far - near))


def part_matrix(part: str, geometry: Geometry) -> np.ndarray:
    """The matrix (54, 54) that takes from head pose and dynamics what is of one part.

    The matrices of all PARTS add up to the unit matrix.
    """
    share = np.zeros((N_HEAD_POSE + N_DYNAMICS,) * 2)
    if part == "head":
        share[range(N_HEAD_POSE), range(N_HEAD_POSE)] = 1.0
        return share
    for name in OWNERS[part]:
        column = N_HEAD_POSE + EXPLICIT.index(name)
        share[column, column] = 1.0
    lips, eyes = (
        _spatial_share(inside(geometry), geometry) for inside in (lower_face, around_eyes)
    )
    spatial = {"lips": lips, "eyes": eyes, "expression": np.eye(len(lips)) - lips - eyes}
    share[N_HEAD_POSE + N_EXPLICIT :, N_HEAD_POSE + N_EXPLICIT :] = spatial[part]
    return share


def mixed(
    base: np.ndarray, other: np.ndarray, parts: tuple[str, ...], geometry: Geometry
) -> np.ndarray:
    """Motion (T, 54) whose named parts are another's (T, 54) and whose others are the base's."""
    taken = sum((part_matrix(part, geometry) for part in dict.fromkeys(parts)), np.zeros((54, 54)))
    return base + (other - base) @ taken.T


def smoothstep(t: np.ndarray) -> np.ndarray:
    """A smooth ramp from 0 to 1 over t in 0 to 1."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def _spatial_share(inside: np.ndarray, geometry: Geometry) -> np.ndarray:
    """What principal components (K, K) fit those of their movements that lie inside (478,)."""
    basis = geometry.dynamics_basis.reshape(-1, N_DYNAMICS)[:, N_EXPLICIT:]
    weighted = basis * point_weights().reshape(-1)[:, None]
    gram = weighted.T @ weighted + RIDGE * np.eye(weighted.shape[1])
    share: np.ndarray = np.linalg.solve(
        gram, weighted.T @ (weighted * np.repeat(inside, 3)[:, None])
    )
    return share
