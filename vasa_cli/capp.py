"""What CAPP sees of a motion, and its scores of motion with its own, moved and foreign sound."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Sequence

import numpy as np
import torch
from torch import Tensor

from vasa_cli.geometry import EXPLICIT, N_DYNAMICS, Geometry, face_measures
from vasa_cli.loading import build
from vasa_cli.models.capp import Capp
from vasa_cli.motion import Motion
from vasa_cli.weights import load_manifest

WINDOWS = {"lips": 16, "head": 64}  # frames that are scored at once: 0.64 and 2.56 s
SHIFTS = (2, 4, 8)  # frames by which sound is moved
REJECTED_SHIFT = 4  # the least shift that a real pair has to be told from
# Points whose heights, and whose depths, are the lips': outer and inner lips, corners, chin.
_HEIGHTS, _DEPTHS = (0, 13, 14, 17, 61, 291, 152), (0, 17)
LIPS_DIM = len(_HEIGHTS) + len(_DEPTHS) + 1
HEAD_DIM = 7  # head pose and brows


class Sounding(Protocol):
    """A motion and the speech features heard meanwhile, (2 T, F)."""

    @property
    def motion(self) -> Motion: ...
    @property
    def speech(self) -> np.ndarray: ...


def signals(motion: Motion, geometry: Geometry) -> dict[str, np.ndarray]:
    """What each of PARTS shows in every frame, (T, LIPS_DIM) and (T, HEAD_DIM).

    Lips: heights and depths of points and the mouth's width, in face heights; head: pose and the
    height of the brows. Both are linear in the motion.
    """
    unit = geometry.displacement(np.eye(N_DYNAMICS))  # (N_DYNAMICS, 478, 3)
    measures = face_measures(unit)  # (N_DYNAMICS, N_EXPLICIT)
    width = measures[:, [EXPLICIT.index("mouth_width")]]
    brows = measures[:, [EXPLICIT.index("brow_height")]]
    lips = np.concatenate([unit[:, _HEIGHTS, 1], unit[:, _DEPTHS, 2], width], 1)
    return {
        "lips": motion.dynamics @ lips,
        "head": np.concatenate([motion.head_pose, motion.dynamics @ brows], 1),
    }


def load_capp(weights_dir: Path) -> Capp | None:
    """The trained network, or None where these weights have none.

    Raises: WeightsError when its file is damaged or of another version.
    """
    if "capp" not in load_manifest(weights_dir).files:
        return None
    network, _ = build("capp", Capp, weights_dir, torch.device("cpu"))
    return network


@torch.inference_mode()
def synchrony(
    capp: Capp,
    part: str,
    real: Sequence[Sounding],
    made: Sequence[Motion],
    geometry: Geometry,
) -> dict[str, float]:
    """Scores of one of PARTS, means over all windows, and how well it tells real pairs.

    "real"; "made", the same sounds with made motion; "shifted_N", real motion with its sound N
    frames earlier and later; "foreign", with the sound of another clip. "accuracy_shifted" and
    "accuracy_foreign": share of windows that score higher than the same motion with sound moved by
    REJECTED_SHIFT frames or more, or foreign.

    Args: real clips with their sound; made motions, one a clip.
    Returns: only "windows" with less than two clips that are long enough.
    """
    window, reach = WINDOWS[part], max(SHIFTS)
    chosen = [k for k, clip in enumerate(real) if len(clip.motion) >= window + 2 * reach]
    if len(chosen) < 2:
        return {"windows": 0.0}
    found: dict[str, list[np.ndarray]] = {}
    told_moved, told_foreign = [], []
    sounds = {k: windows_of(real[k].speech, window, reach, per_frame=2) for k in chosen}
    for place, k in enumerate(chosen):
        moves = signals(real[k].motion, geometry)[part]
        ours = signals(made[k], geometry)[part]
        speech = {
            shift: windows_of(real[k].speech, window, reach, shift=shift, per_frame=2)
            for shift in (0, *SHIFTS, *(-shift for shift in SHIFTS))
        }
        other = sounds[chosen[place - 1]]
        foreign = other[torch.arange(len(speech[0])) % len(other)]

        def scored(values: np.ndarray, heard: Tensor) -> np.ndarray:
            pairing = capp.part(part)
            return pairing.score(windows_of(values, window, reach), heard).numpy()

        own = scored(moves, speech[0])
        rows = {"real": own, "made": scored(ours, speech[0]), "foreign": scored(moves, foreign)}
        for shift in SHIFTS:
            both = [scored(moves, speech[sign * shift]) for sign in (-1, 1)]
            rows[f"shifted_{shift}"] = np.concatenate(both)
            told_moved += [own > score for score in both if shift >= REJECTED_SHIFT]
        told_foreign.append(own > rows["foreign"])
        for name, scores in rows.items():
            found.setdefault(name, []).append(scores)
    figures = {name: float(np.concatenate(scores).mean()) for name, scores in found.items()}
    return figures | {
        "accuracy_shifted": float(np.concatenate(told_moved).mean()),
        "accuracy_foreign": float(np.concatenate(told_foreign).mean()),
        "windows": float(len(np.concatenate(found["real"]))),
    }


def windows_of(
    values: np.ndarray, window: int, reach: int, *, shift: int = 0, per_frame: int = 1
) -> Tensor:
    """Windows (N, per_frame window, D) side by side, `reach` frames from both ends, moved by shift.

    Args: values (per_frame T, D).
    """
    n_frames = len(values) // per_frame
    n = (n_frames - 2 * reach) // window
    first = (reach + shift) * per_frame
    part = torch.from_numpy(np.ascontiguousarray(values[first:], np.float32))
    return part[: n * window * per_frame].reshape(n, window * per_frame, -1)
