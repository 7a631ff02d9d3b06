"""Where eyes look: from the offset of the irises to degrees in the camera's frame and back.

A gaze is a unit vector in canonical or camera axes (x right, y down, z away from the viewer); an
eye that looks at the viewer looks along (0, 0, -1). In degrees it is (yaw, pitch), right and up
positive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.geometry import (
    EXPLICIT,
    EYEBALL_RADIUS_OVER_EYE_WIDTH,
    EYES,
    FaceCode,
    Geometry,
    face_measures,
    rotation_matrix,
)
from vasa_cli.smoothing import windows

GAZE = (EXPLICIT.index("gaze_yaw"), EXPLICIT.index("gaze_pitch"))
# How much further irises are drawn than landmarks say. The face mesh under-reads irises: on frames
# drawn with irises at the landmarks of a gaze, the change that is read back is 0.6 of it across and
# 0.4 up and down (6 portraits), on frames of real clips 0.9. So a gaze in degrees is what the mesh
# would read, as it is in the clips that motion is learned from. Up and down a little more is drawn,
# by what 12 portraits of the whole command showed of it.
DRAWN = np.array([1.65, 2.7])
# How much further irises that were read in a picture are turned than the mesh would say.
READ = np.array([1.2, 1.0])
# An iris cannot leave the eye: offsets in eyeball radii, across and up, up to which a gaze is
# exact, and which none reaches.
OFFSET_EXACT, OFFSET_LIMIT = np.array([0.62, 0.45]), np.array([0.80, 0.60])

# The photo's own gaze, as points tell it, for people who look into the camera: mean and spread in
# degrees over 200 newsreaders and 86 portraits of the London set. Pitch is poor, since it hangs
# on the face's build. People who look elsewhere spread by ELSEWHERE; one photo in five is of them.
CAMERA_MEAN = np.array([0.0, -4.0])
CAMERA_SPREAD = np.array([1.7, 4.2])
ELSEWHERE_SPREAD, ELSEWHERE_SHARE = np.array([12.0, 7.0]), 0.2

# Small saccades about a point that is looked at.
FIXATION_S, FIXATION_SHAPE = 0.75, 3.0  # mean time between two, and shape of its gamma distribution
WANDER_SPREAD = np.array([1.5, 0.9])  # degrees, yaw and pitch
SACCADE_S = 0.03  # a saccade of a few degrees; Bahill et al. 1975, the main sequence

# The head turns towards what lies further than this from its own direction, by this share of the
# rest, and takes this long: people look aside up to about 15 degrees with their eyes alone. Up and
# down the eyes have less room, and the head does half.
FOLLOW_FROM, FOLLOW_SHARE = np.array([15.0, 2.0]), np.array([0.4, 0.55])
FOLLOW_S = 0.25

CONDITION_DEG, CONDITION_MOST = 10.0, 3.0  # unit of a gaze as a condition, and the most of it
STEADY = 7  # frames over which a filmed gaze is a median: blinks and the mesh's jitter go


@dataclass(frozen=True)
class Eyes:
    """How one person's irises answer to gaze, and where the photo looks."""

    radius: np.ndarray  # (2,) of the eyeball, in units of the gaze dynamics
    photo: np.ndarray  # (2,) the irises' offset in the photo over the radius: right, up
    photo_gaze: np.ndarray  # (3,) where the photo looks, in the camera's frame

    @staticmethod
    def of(code: FaceCode, geometry: Geometry, *, elsewhere_share: float = ELSEWHERE_SHARE) -> Eyes:
        """The eyes of a face that was fitted.

        Args: elsewhere_share says how likely such a face looks elsewhere than into the camera.
        """
        shown = geometry.neutral(code.identity) + code.detail + geometry.displacement(code.dynamics)
        widths = [np.linalg.norm(np.subtract(*shown[list(e["corners"])])) for e in EYES.values()]
        radius = float(np.mean(widths)) * EYEBALL_RADIUS_OVER_EYE_WIDTH
        forward = face_measures(geometry.mean)[list(GAZE)]
        photo = (face_measures(shown)[list(GAZE)] - forward) / radius
        seen = angles_of(rotation_matrix(code.head_pose[:3]) @ gaze_of_offset(photo / READ))
        unit = [face_measures(geometry.dynamics_basis[..., k])[k] for k in GAZE]
        return Eyes(radius / np.array(unit), photo, gaze_vector(likely_gaze(seen, elsewhere_share)))

    def dynamics(self, gaze: np.ndarray, head: np.ndarray, photo_head: np.ndarray) -> np.ndarray:
        """Changes (T, 2) of the gaze dynamics from the photo, so that the eyes look along `gaze`.

        Args: gaze (T, 3) in the camera's frame; head (T, 3) and photo_head (3,) yaw, pitch, roll.
        """
        wanted = in_head(gaze, head)
        own = in_head(self.photo_gaze[None], photo_head[None])
        return (wanted - own) * DRAWN * self.radius

    def limited(self, dynamics: np.ndarray) -> tuple[np.ndarray, float]:
        """Gaze dynamics (T, 2) that leave the irises in the eyes; the most degrees that were lost.

        Args: dynamics as changes from the photo.
        """
        offset = self.photo + dynamics / self.radius
        soft = soft_limit(offset, OFFSET_EXACT, OFFSET_LIMIT)
        lost = np.abs(self.degrees((offset - soft) * self.radius))
        return np.where(offset == soft, dynamics, (soft - self.photo) * self.radius), lost.max()

    @property
    def head(self) -> np.ndarray:
        """Which way the photo's head faces, yaw and pitch (2,), by where its eyes look and stand.

        The fit's own pitch hangs on the face's build; this does not.
        """
        return angles_of(self.photo_gaze) - np.degrees(np.arcsin(np.clip(self.photo, -1, 1)))

    def degrees(self, dynamics: np.ndarray) -> np.ndarray:
        """How far changes (T, 2) of the gaze dynamics turn the eyes, yaw and pitch (T, 2)."""
        return np.degrees(np.arcsin(np.clip(dynamics / self.radius / DRAWN, -1, 1)))


def filmed_gaze(head: np.ndarray, dynamics: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Where filmed eyes look, yaw and pitch (T, 2) in degrees from where they mostly do.

    Args: head (T, 3) and gaze dynamics (T, 2), as changes from their medians. Eyes turn here as in
        the mean face, by what the face mesh reads of filmed ones.
    """
    widths = [
        np.linalg.norm(np.subtract(*geometry.mean[list(e["corners"])])) for e in EYES.values()
    ]
    unit = [face_measures(geometry.dynamics_basis[..., k])[k] for k in GAZE]
    radius = float(np.mean(widths)) * EYEBALL_RADIUS_OVER_EYE_WIDTH / np.array(unit)
    in_the_head = np.degrees(np.arcsin(np.clip(dynamics / radius, -1, 1)))
    return np.asarray(np.median(windows(head[:, :2] + in_the_head, STEADY // 2), -1))


def as_condition(gaze_deg: np.ndarray, held: np.ndarray) -> np.ndarray:
    """A gaze (T, 2) and how far it is held (T,), as the denoiser takes them: (T, 3) float32.

    In films the gaze goes with the head: eyes make up for a tenth of its turns (88,500 frames, r =
    -0.28), and of a gaze that is read there, 0.97 is the head's. So what a sampler that learned it
    is told of a gaze is what the head is to do for it, see `beyond_ease`; eyes are set afterwards.
    """
    unit = np.clip(gaze_deg / CONDITION_DEG, -CONDITION_MOST, CONDITION_MOST)
    return np.concatenate([unit, held[:, None]], 1).astype(np.float32)


def gaze_vector(angles_deg: np.ndarray) -> np.ndarray:
    """Unit vectors (..., 3) of yaw and pitch (..., 2)."""
    yaw, pitch = np.moveaxis(np.radians(angles_deg), -1, 0)
    return np.stack([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), -np.cos(yaw) * np.cos(pitch)], -1)


def angles_of(gaze: np.ndarray) -> np.ndarray:
    """Yaw and pitch (..., 2) of unit vectors (..., 3); the inverse of `gaze_vector`."""
    yaw = np.arctan2(gaze[..., 0], -gaze[..., 2])
    return np.degrees(np.stack([yaw, np.arcsin(np.clip(-gaze[..., 1], -1, 1))], -1))


def gaze_of_offset(offset: np.ndarray) -> np.ndarray:
    """Unit vectors (..., 3) of irises moved right and up by (..., 2) eyeball radii."""
    x, y = offset[..., 0], -offset[..., 1]
    z = -np.sqrt(np.clip(1 - x * x - y * y, 0, 1))
    return np.stack([x, y, z], -1)


def in_head(gaze: np.ndarray, head: np.ndarray) -> np.ndarray:
    """How far right and up the irises stand, (T, 2) in eyeball radii.

    Args: gaze (T, 3) in the camera's frame; head (T, 3) yaw, pitch, roll in degrees.
    """
    own = np.einsum("tji,tj->ti", rotation_matrix(head), gaze)
    return own[:, :2] * [1.0, -1.0]


def likely_gaze(seen: np.ndarray, elsewhere_share: float = ELSEWHERE_SHARE) -> np.ndarray:
    """Where a photo looks, (2,) degrees, from what its points say.

    Points are a few degrees off, and most portraits look into the camera: what may well be that is
    taken for it (the mean of the posterior of a spike at the camera and a wide normal).
    """
    error = seen - CAMERA_MEAN
    wide = np.sqrt(CAMERA_SPREAD**2 + ELSEWHERE_SPREAD**2)

    def density(spread: np.ndarray) -> float:
        return float(np.exp(-0.5 * ((error / spread) ** 2).sum()) / spread.prod())

    elsewhere = elsewhere_share * density(wide)
    share = elsewhere / (elsewhere + (1 - elsewhere_share) * density(CAMERA_SPREAD) + 1e-300)
    kept = ELSEWHERE_SPREAD**2 / wide**2
    return share * kept * error


def soft_limit(values: np.ndarray, exact: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Values as they are up to +-exact, then ever less, never beyond +-limit."""
    over = np.abs(values) - exact
    room = limit - exact
    bent = exact + room * np.tanh(np.maximum(over, 0) / room)
    return np.where(over > 0, np.sign(values) * bent, values)


def saccades(times_s: np.ndarray, *, seed: int) -> np.ndarray:
    """Small saccades about nought (T, 2) in degrees at given times, the same at every frame rate.

    Their mean over time is nought, so that on average the eyes are where they aim.
    """
    rng = np.random.default_rng([seed, 0x65796573])
    duration_s = float(times_s[-1]) + 1.0
    n = int(np.ceil(duration_s / FIXATION_S * 2)) + 4
    gaps = rng.gamma(FIXATION_SHAPE, FIXATION_S / FIXATION_SHAPE, n)
    gaps[-1] += duration_s
    starts = np.cumsum(gaps)
    points = rng.normal(size=(n + 1, 2)).clip(-2, 2) * WANDER_SPREAD
    held = np.diff(np.clip(np.concatenate([[0.0], starts]), 0, duration_s), append=duration_s)
    points = points - (points * held[:, None]).sum(0) / held.sum()
    k = np.searchsorted(starts, times_s, side="right")  # fixations begun before each time
    since = times_s - np.concatenate([[-1.0], starts])[k]
    arrived = np.clip(since / SACCADE_S, 0, 1)[:, None]
    return points[k] * arrived + points[np.maximum(k - 1, 0)] * (1 - arrived)


def beyond_ease(aside: np.ndarray) -> np.ndarray:
    """The part (T, 2) that the head takes of what lies (T, 2) degrees aside of it."""
    return np.sign(aside) * np.maximum(np.abs(aside) - FOLLOW_FROM, 0) * FOLLOW_SHARE


def head_follows(gaze: np.ndarray, head: np.ndarray, *, step_s: float) -> np.ndarray:
    """Turns (T, 2) in degrees that the head adds to look where the eyes do, partly and later.

    Args: gaze (T, 2) and the head's own direction (T, 2), yaw and pitch in degrees.
    """
    over = beyond_ease(gaze - head)
    kept = np.exp(-step_s / FOLLOW_S)
    turned = np.empty_like(over)
    state = speed = over[0] * 1.0
    for k, target in enumerate(over):  # two equal lags: the head starts and stops softly
        speed = kept * speed + (1 - kept) * target
        state = kept * state + (1 - kept) * speed
        turned[k] = state
    return turned
