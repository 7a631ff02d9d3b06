"""The face latent: bases, poses, projection and fit, all in closed form.

Canonical space: x to the picture's right, y down, z away from the viewer; the unit is the mean
face's height (forehead to chin) and the origin lies inside the head, about where it turns. Crop
space: x and y in [-1, 1] over the square around the head, z in the same unit. Angles as the viewer
sees them, in degrees: yaw > 0 to the right, pitch > 0 up, roll > 0 clockwise.

The first dynamics have a meaning each and move exactly one measure of the face (`EXPLICIT`); the
others are principal components that leave all of those measures alone. So gaze, lids and lips can
be set and read without a search.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vasa_cli.config import N_LANDMARKS

N_IDENTITY, N_DYNAMICS, N_HEAD_POSE = 40, 48, 6
EXPLICIT = (
    "gaze_yaw",
    "gaze_pitch",
    "lid_right",
    "lid_left",
    "mouth_open",
    "mouth_width",
    "brow_height",
    "corner_lift",
)
N_EXPLICIT = len(EXPLICIT)

CROP_FACE_HEIGHT = 0.95  # height of the mean face at distance 1, in crop units (half sides)
CROP_ORIGIN_Y = -0.15  # where the head's origin lies in its own crop at rest, in crop units

RIGID = (
    *(33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 10),
    *(151, 9, 8, 127, 356, 234, 454, 109, 338, 67, 297),
)
# "right" and "left" as the viewer sees them in a picture that is not mirrored: points 33 and 61 lie
# left in the picture
EYES = {
    "left": dict(
        corners=(33, 133),
        upper=(160, 159, 158),
        lower=(144, 145, 153),
        iris=(468, 469, 470, 471, 472),
    ),
    "right": dict(
        corners=(362, 263),
        upper=(387, 386, 385),
        lower=(373, 374, 380),
        iris=(473, 474, 475, 476, 477),
    ),
}
UPPER_LIDS = {
    "left": (246, 161, 160, 159, 158, 157, 173),
    "right": (466, 388, 387, 386, 385, 384, 398),
}
LOWER_LIDS = {
    "left": (7, 163, 144, 145, 153, 154, 155),
    "right": (249, 390, 373, 374, 380, 381, 382),
}
UPPER_INNER_LIP = (191, 80, 81, 82, 13, 312, 311, 310, 415)
LOWER_INNER_LIP = (95, 88, 178, 87, 14, 317, 402, 318, 324)
MOUTH_CORNERS = (61, 291)
BROWS = ((105, 66, 107), (334, 296, 336))
LIPS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
)
# Adult means: 12 mm eyeball radius, 29 mm between the corners.
EYEBALL_RADIUS_OVER_EYE_WIDTH = 12.0 / 29.0


@dataclass(frozen=True)
class FaceCode:
    """One face in one picture: who it is, how it is held, what it does."""

    identity: np.ndarray  # (N_IDENTITY,)
    head_pose: np.ndarray  # (6,) yaw, pitch, roll in degrees; x, y in crop units; distance
    dynamics: np.ndarray  # (N_DYNAMICS,)
    detail: np.ndarray  # (478, 3) what the bases leave of the neutral face, canonical

    def with_motion(self, *, head_pose: np.ndarray, dynamics: np.ndarray) -> FaceCode:
        """The same face in another pose (6,), doing something else (N_DYNAMICS,)."""
        return replace(self, head_pose=head_pose, dynamics=dynamics)


def rotation_matrix(angles_deg: np.ndarray) -> np.ndarray:
    """Rotation matrices whose measured angles are exactly the given ones.

    Args: angles_deg (..., 3): yaw and pitch of the face's normal, roll of the line between the eyes
        in the picture.
    Returns: (..., 3, 3), canonical to picture.
    """
    yaw, pitch, roll = np.moveaxis(np.radians(np.asarray(angles_deg, np.float64)), -1, 0)
    away = np.stack([-np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], -1)
    right = np.stack(
        [
            np.cos(roll),
            np.sin(roll),
            -(away[..., 0] * np.cos(roll) + away[..., 1] * np.sin(roll)) / away[..., 2],
        ],
        -1,
    )
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    return np.stack([right, np.cross(away, right), away], -1)


def rotation_angles(matrix: np.ndarray) -> np.ndarray:
    """Yaw, pitch, roll in degrees (..., 3) of rotation matrices (..., 3, 3).

    The inverse of `rotation_matrix`.
    """
    right, away = matrix[..., :, 0], matrix[..., :, 2]
    yaw = np.arctan2(-away[..., 0], away[..., 2])
    pitch = np.arcsin(np.clip(away[..., 1], -1, 1))
    return np.degrees(np.stack([yaw, pitch, np.arctan2(right[..., 1], right[..., 0])], -1))


def align(
    points: np.ndarray, reference: np.ndarray, *, index: tuple[int, ...] = RIGID
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarity from a reference to each set of points, by Procrustes over some landmarks.

    Args: points (B, 478, 3); reference (478, 3) or (B, 478, 3).
    Returns: scale (B,), rotation (B, 3, 3), translation (B, 3), such that
        points ~ scale * reference @ rotation.T + translation.
    Source: Umeyama 1991, least-squares estimation of transformation parameters.
    """
    there = points[:, index].astype(np.float64)
    here = np.broadcast_to(reference, points.shape)[:, index].astype(np.float64)
    there_mean, here_mean = there.mean(1, keepdims=True), here.mean(1, keepdims=True)
    covariance = (there - there_mean).transpose(0, 2, 1) @ (here - here_mean)  # (B, 3, 3)
    u, s, vt = np.linalg.svd(covariance)
    sign = np.ones_like(s)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None]) @ vt
    scale = (s * sign).sum(1) / np.square(here - here_mean).sum((1, 2))
    translation = there_mean[:, 0] - scale[:, None] * np.einsum(
        "bij,bj->bi", rotation, here_mean[:, 0]
    )
    return scale, rotation, translation


def unalign(
    points: np.ndarray, scale: np.ndarray, rotation: np.ndarray, translation: np.ndarray
) -> np.ndarray:
    """Points (B, 478, 3) brought back to the reference's space by the inverse of `align`."""
    return (points - translation[:, None]) @ rotation / scale[:, None, None]


def face_measures(points: np.ndarray) -> np.ndarray:
    """The measures (..., N_EXPLICIT) that the first dynamics move, in mean face heights.

    They are linear in canonical points (..., 478, 3). gaze: mean offset of the irises from the
    middle of the eyes' corners, x and -y; lids: gap of each eye; mouth: gap of the inner lips and
    distance of the corners along x; brows: height over the eyes; corners: height over the upper
    lip.
    """
    offsets, gaps = [], []
    for eye in EYES.values():
        corners = points[..., eye["corners"], :2].mean(-2)
        offsets.append(points[..., eye["iris"][:1], :2].mean(-2) - corners)
        gaps.append(points[..., eye["lower"], 1].mean(-1) - points[..., eye["upper"], 1].mean(-1))
    gaze = (offsets[0] + offsets[1]) / 2
    eye_line = points[..., [33, 133, 362, 263], 1].mean(-1)
    corners_y = points[..., MOUTH_CORNERS, 1].mean(-1)
    return np.stack(
        [
            gaze[..., 0],
            -gaze[..., 1],
            gaps[1],
            gaps[0],
            points[..., (87, 14, 317), 1].mean(-1) - points[..., (82, 13, 312), 1].mean(-1),
            points[..., 291, 0] - points[..., 61, 0],
            eye_line - points[..., BROWS[0] + BROWS[1], 1].mean(-1),
            points[..., (82, 13, 312), 1].mean(-1) - corners_y,
        ],
        -1,
    )


def measure_matrix() -> np.ndarray:
    """`face_measures` as a matrix (N_EXPLICIT, 478 * 3)."""
    unit = np.eye(N_LANDMARKS * 3).reshape(-1, N_LANDMARKS, 3)
    return face_measures(unit).T


def join_inner_lips(points: np.ndarray) -> np.ndarray:
    """A copy of points or displacements (..., 478, 3) whose inner lips touch.

    Who someone is never opens the mouth; dynamics do.
    """
    joined = points.copy()
    middle = (points[..., UPPER_INNER_LIP, 1:] + points[..., LOWER_INNER_LIP, 1:]) / 2
    joined[..., UPPER_INNER_LIP, 1:] = middle
    joined[..., LOWER_INNER_LIP, 1:] = middle
    return joined


def point_weights() -> np.ndarray:
    """How much each coordinate counts in bases and fits, (478, 3).

    Lips, lids and irises count most, depth least.
    """
    weights = np.ones(N_LANDMARKS)
    weights[list(LIPS)] = 3.0
    for side in EYES:
        weights[list(UPPER_LIDS[side] + LOWER_LIDS[side])] = 3.0
        weights[list(EYES[side]["iris"])] = 3.0
    return weights[:, None] * np.array([1.0, 1.0, 0.4])


@dataclass(frozen=True)
class Geometry:
    """The learned linear model of faces: mean, identity and dynamics bases."""

    mean: np.ndarray  # (478, 3) the neutral face: lips closed, eyes open and forward
    identity_basis: np.ndarray  # (478, 3, N_IDENTITY), one standard deviation each
    dynamics_basis: np.ndarray  # (478, 3, N_DYNAMICS), one standard deviation each
    dynamics_limit: np.ndarray  # (2, N_DYNAMICS) smallest and largest value seen, softened

    def mirror_index(self) -> np.ndarray:
        """Which point each point becomes in a mirrored face (478,)."""
        parted = np.zeros(N_DYNAMICS)
        parted[EXPLICIT.index("mouth_open")] = 3.0  # closed inner lips lie on each other
        return mirrored_points(self.mean + self.displacement(parted))

    # --- from a face to its code ---

    def fit(self, points: np.ndarray, *, ridge: float = 0.002) -> FaceCode:
        """The code that explains one face exactly: bases as far as they go, the rest as detail.

        Args: points (478, 3) in crop units.
        """
        head_pose, identity, dynamics, neutral = self.fit_frames(points[None], ridge=ridge)
        return FaceCode(
            identity[0], head_pose[0], dynamics[0], neutral[0] - self.neutral(identity[0])
        )

    def fit_sequence(
        self, points: np.ndarray, *, ridge: float = 0.002
    ) -> tuple[FaceCode, np.ndarray, np.ndarray]:
        """One person's code and the motion of every frame.

        Args: points (T, 478, 3) in crop units, all of one person.
        Returns: code with the mean identity and the first frame's motion, head_pose (T, 6),
            dynamics (T, N_DYNAMICS).
        """
        sample = points[np.linspace(0, len(points) - 1, min(len(points), 50)).astype(int)]
        identity = self.fit_frames(sample, ridge=ridge)[1].mean(0)
        shape = self.neutral(identity)
        head_pose, _, dynamics, neutral = self.fit_frames(points, ridge=ridge, identity=identity)
        detail = join_inner_lips((neutral - shape).mean(0))
        return FaceCode(identity, head_pose[0], dynamics[0], detail), head_pose, dynamics

    def fit_frames(
        self, points: np.ndarray, *, ridge: float, identity: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Each frame's code: alternate Procrustes and a ridge regression on the bases.

        Args: points (B, 478, 3) in crop units; identity where it is known.
        Returns: head_pose (B, 6), identity (B, N_IDENTITY), dynamics (B, N_DYNAMICS), canonical
            neutral faces (B, 478, 3).
        """
        n_frames, weights = len(points), point_weights().reshape(-1)
        bases = [self.dynamics_basis.reshape(-1, N_DYNAMICS)]
        start = self.mean if identity is None else self.neutral(identity)
        if identity is None:
            bases.insert(0, self.identity_basis.reshape(-1, N_IDENTITY))
        basis = np.concatenate(bases, 1).astype(np.float64)  # (1434, K)
        weighted = basis * weights[:, None]
        solver = np.linalg.solve(
            weighted.T @ weighted + ridge * np.eye(basis.shape[1]), weighted.T * weights
        )
        shape = np.broadcast_to(start, points.shape).astype(np.float64)
        for _ in range(4):
            scale, rotation, translation = align(points, shape)
            canonical = unalign(points, scale, rotation, translation)
            coefficients = (canonical - start).reshape(n_frames, -1) @ solver.T  # (B, K)
            shape = start + (coefficients @ basis.T).reshape(points.shape)
        dynamics = coefficients[:, -N_DYNAMICS:]
        who = (
            coefficients[:, :N_IDENTITY]
            if identity is None
            else np.broadcast_to(identity, (n_frames, N_IDENTITY))
        )
        neutral = canonical - self.displacement(dynamics)
        head_pose = np.concatenate(
            [
                rotation_angles(rotation),
                translation[:, :1],
                translation[:, 1:2] - CROP_ORIGIN_Y,
                (CROP_FACE_HEIGHT / scale)[:, None],
            ],
            1,
        )
        return head_pose, who, dynamics, neutral

    # --- from a code to a face ---

    def neutral(self, identity: np.ndarray) -> np.ndarray:
        """Neutral faces (..., 478, 3), canonical."""
        return self.mean + np.tensordot(identity, self.identity_basis, (-1, 2))

    def displacement(self, dynamics: np.ndarray) -> np.ndarray:
        """How dynamics move the points, (..., 478, 3), canonical."""
        return np.tensordot(dynamics, self.dynamics_basis, (-1, 2))

    def canonical(self, code: FaceCode, dynamics: np.ndarray) -> np.ndarray:
        """Faces (T, 478, 3) of one person doing something, without a pose.

        Lids and lips meet and never cross.
        """
        points = self.neutral(code.identity) + code.detail + self.displacement(dynamics)
        points = self._close_lids(code, dynamics, points)
        return part_lips(points)

    def landmarks(
        self, code: FaceCode, *, head_pose: np.ndarray, dynamics: np.ndarray
    ) -> np.ndarray:
        """Points (T, 478, 3) in crop units of one person in motion.

        Args: head_pose (T, 6); dynamics (T, N_DYNAMICS).
        """
        return project(head_pose, self.canonical(code, dynamics))

    def _close_lids(self, code: FaceCode, dynamics: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Scale lid gaps so that what shuts the mean face's eyes shuts these, narrow or wide."""
        mean_gap = face_measures(self.mean)
        moved = mean_gap + face_measures(self.displacement(dynamics))  # (T, N_EXPLICIT)
        moved_photo = mean_gap + face_measures(self.displacement(code.dynamics))
        own = face_measures(
            self.neutral(code.identity) + code.detail + self.displacement(code.dynamics)
        )
        points = points.copy()
        for side, k in (("right", 2), ("left", 3)):
            photo_share = np.clip(moved_photo[k] / mean_gap[k], 0.25, None)
            moved_share = np.clip(moved[:, k] / mean_gap[k], 0.0, 1.8)
            target = moved_share * max(own[k], 0.01) / photo_share  # (T,)
            upper, lower = UPPER_LIDS[side], LOWER_LIDS[side]
            gap = face_measures(points)[:, k]
            # (T, 1) how much more open than the sum of the bases says
            excess = (target - gap)[:, None]
            profile = np.array([0.35, 0.75, 1.0, 1.05, 1.0, 0.75, 0.35])
            points[:, upper, 1] -= 0.8 * excess * profile
            points[:, lower, 1] += 0.2 * excess * profile
            crossed = np.clip(points[:, upper, 1] - points[:, lower, 1], 0, None)
            points[:, upper, 1] -= crossed / 2
            points[:, lower, 1] += crossed / 2
        return points


def mirrored_points(points: np.ndarray) -> np.ndarray:
    """For each point of an upright face (478, 3) the nearest one in the mirror, (478,)."""
    return np.linalg.norm(points[:, None] - (points * [-1, 1, 1])[None], axis=-1).argmin(1)


def part_lips(points: np.ndarray) -> np.ndarray:
    """A copy of canonical points (..., 478, 3), the lower inner lip nowhere above the upper one."""
    parted = points.copy()
    overlap = points[..., UPPER_INNER_LIP, 1] - points[..., LOWER_INNER_LIP, 1]
    crossed = np.clip(overlap, 0, None) / 2
    parted[..., UPPER_INNER_LIP, 1] -= crossed
    parted[..., LOWER_INNER_LIP, 1] += crossed
    return parted


def project(head_pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Canonical points (T, 478, 3) in crop units, seen from far away (scaled orthographic).

    Args: head_pose (T, 6).
    """
    rotation = rotation_matrix(head_pose[..., :3])
    turned = points @ np.swapaxes(rotation, -1, -2)
    shift = np.stack(
        [head_pose[..., 3], head_pose[..., 4] + CROP_ORIGIN_Y, np.zeros_like(head_pose[..., 3])], -1
    )
    return turned * (CROP_FACE_HEIGHT / head_pose[..., 5])[..., None, None] + shift[..., None, :]


def gaze_angles(points: np.ndarray) -> np.ndarray:
    """Yaw and pitch in degrees (..., 2) of the eyes in the head.

    Args: points (..., 478, 3), canonical.
    """
    widths = []
    for eye in EYES.values():
        right, left = eye["corners"][1], eye["corners"][0]
        widths.append(np.linalg.norm(points[..., right, :2] - points[..., left, :2], axis=-1))
    width = np.mean(widths, 0)
    reach = face_measures(points)[..., :2] / (width[..., None] * EYEBALL_RADIUS_OVER_EYE_WIDTH)
    return np.degrees(np.arcsin(np.clip(reach, -1, 1)))
