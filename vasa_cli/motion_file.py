"""Motion files: safetensors with JSON metadata that says rate, units, origin and what it is of."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vasa_cli import __version__
from vasa_cli.audio import check_input
from vasa_cli.errors import InputError, ResourceError
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE
from vasa_cli.motion import Motion
from vasa_cli.weights import load_manifest

FORMAT = 1
SUFFIX = ".safetensors"
FURTHEST = 60.0  # standard deviations; in the labels of 200 clips, faults and all, 29
METADATA_KEY = "vasa_motion"
UNITS = {
    "head_pose": "change from rest of yaw, pitch, roll in degrees (right, up, clockwise as the"
    " viewer sees them), x and y in half sides of the head's square, log of the distance",
    "dynamics": "change from rest in standard deviations of the dynamics basis; the mouth's"
    " opening from closed lips",
    "origin": "what the changes of each shot are measured from, in the same units",
}


@dataclass(frozen=True, eq=False)
class Recording:
    """A motion with what is known of where it comes from.

    origin: (S, 54) for each shot the head pose (distance as its logarithm) and dynamics that the
        changes are measured from; None for motion that was sampled.
    cuts: the first frame of each shot but the first; (S - 1) of them.
    filled: first and last frame of each gap that was drawn from its neighbours.
    """

    motion: Motion
    basis: str = ""  # SHA-256 of the geometry weights that give dynamics their meaning; "" unknown
    source: str = ""  # name of the file it was made from
    source_sha256: str = ""
    made_by: str = ""  # the command, as "extract"
    origin: np.ndarray | None = None
    cuts: tuple[int, ...] = ()
    filled: tuple[tuple[int, int], ...] = ()
    notes: dict[str, str] = field(default_factory=dict)  # what else is worth keeping, as the seed

    @property
    def duration_s(self) -> float:
        return float(len(self.motion) / self.motion.fps)

    @property
    def seed(self) -> int | None:
        """The seed that it was sampled with; None where it was not sampled."""
        noted = self.notes.get("seed", "")
        return int(noted) if noted.isdecimal() else None

    @property
    def shots(self) -> list[slice]:
        """The frames of each shot."""
        edges = [0, *self.cuts, len(self.motion)]
        return [slice(start, stop) for start, stop in zip(edges[:-1], edges[1:])]

    def edited(self, motion: Motion, made_by: str) -> Recording:
        """The same recording with other motion of the same frames."""
        return replace(self, motion=motion, made_by=made_by)


def basis_of(weights_dir: Path) -> str:
    """The SHA-256 of the geometry weights of a folder, which a recording's `basis` names.

    Raises: WeightsError when the manifest cannot be read or names no geometry.
    """
    from vasa_cli.errors import WeightsError

    entry = load_manifest(weights_dir).files.get("geometry")
    if entry is None:
        raise WeightsError(f"the manifest in {weights_dir} names no geometry weights")
    return entry.sha256


def check_basis(recording: Recording, path: Path, basis: str) -> None:
    """Refuse motion whose dynamics mean something else with these weights.

    Raises: InputError when both bases are known and differ.
    """
    if recording.basis and recording.basis != basis:
        raise InputError(
            f"motion {path} was made with other geometry weights ({recording.basis[:12]}, here"
            f" {basis[:12]}), so its dynamics mean something else; make it again with these"
        )


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def as_stored(motion: Motion) -> Motion:
    """The same motion in the precision of a motion file, so that both give the same frames."""
    arrays = {name: getattr(motion, name) for name in ("head_pose", "dynamics")}
    rounded = {name: x.astype(np.float32).astype(np.float64) for name, x in arrays.items()}
    return replace(motion, **rounded)


def save_motion(path: Path, recording: Recording) -> None:
    """Write a motion file; it bears its name only when it is whole.

    Raises: InputError when `load_motion` would refuse it, ResourceError when it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    motion = recording.motion
    try:
        _check(motion.head_pose, motion.dynamics, motion.fps)
    except ValueError as error:
        raise InputError(
            f"motion {path} is not written: it would hold {error}; give motion of a face"
        ) from error
    arrays = {"head_pose": motion.head_pose, "dynamics": motion.dynamics}
    if recording.origin is not None:
        arrays["origin"] = recording.origin
    arrays = {key: np.ascontiguousarray(value, np.float32) for key, value in arrays.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(arrays, str(temporary), metadata={METADATA_KEY: json.dumps(about(recording))})
        temporary.chmod(0o644)  # safetensors lets only its owner read it
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise ResourceError(f"motion {path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def about(recording: Recording) -> dict[str, Any]:
    """What a motion file says of itself: plain JSON values."""
    return {
        "format": FORMAT,
        "vasa_version": __version__,
        "made_by": recording.made_by,
        "fps": str(recording.motion.fps),
        "n_frames": len(recording.motion),
        "units": UNITS,
        "basis_sha256": recording.basis,
        "source": {"name": recording.source, "sha256": recording.source_sha256},
        "cuts": list(recording.cuts),
        "filled": [list(gap) for gap in recording.filled],
        "notes": recording.notes,
    }


def load_motion(path: Path) -> Recording:
    """Read what `save_motion` wrote.

    Raises: InputError when the file is missing, or is not a whole motion file of this format.
    """
    from safetensors import SafetensorError, safe_open

    check_input(path, kind="motion")
    try:
        with safe_open(str(path), framework="numpy") as file:
            said = json.loads((file.metadata() or {}).get(METADATA_KEY, "null"))
            arrays = {key: file.get_tensor(key) for key in file.keys()}
    except (OSError, ValueError, SafetensorError) as error:
        raise _not_motion(path, str(error)) from error
    if not isinstance(said, dict):
        raise _not_motion(path, "it holds other data")
    if said.get("format") != FORMAT:
        raise _not_motion(path, f"format {said.get('format')}, and this vasa reads {FORMAT}")
    try:
        return _recording(said, arrays)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _not_motion(path, f"{type(error).__name__}: {error}") from error


def _recording(said: dict[str, Any], arrays: dict[str, np.ndarray]) -> Recording:
    """Raises: KeyError, TypeError, ValueError for what does not fit together."""
    head_pose, dynamics = arrays["head_pose"], arrays["dynamics"]
    n_frames, fps = len(head_pose), Fraction(said["fps"])
    if head_pose.shape != (n_frames, N_HEAD_POSE) or dynamics.shape != (n_frames, N_DYNAMICS):
        raise ValueError(f"shapes {head_pose.shape} and {dynamics.shape} do not fit")
    _check(head_pose, dynamics, fps)
    cuts = tuple(int(k) for k in said["cuts"])
    edges = (0, *cuts, n_frames)
    if any(a >= b for a, b in zip(edges[:-1], edges[1:])):
        raise ValueError(f"cuts {cuts} do not rise within {n_frames} frames")
    origin = arrays.get("origin")
    if origin is not None and origin.shape != (len(cuts) + 1, N_HEAD_POSE + N_DYNAMICS):
        raise ValueError(f"origin is {origin.shape} for {len(cuts) + 1} shots")
    return Recording(
        Motion(head_pose.astype(np.float64), dynamics.astype(np.float64), fps),
        basis=str(said["basis_sha256"]),
        source=str(said["source"]["name"]),
        source_sha256=str(said["source"]["sha256"]),
        made_by=str(said["made_by"]),
        origin=None if origin is None else origin.astype(np.float64),
        cuts=cuts,
        filled=tuple((int(first), int(last)) for first, last in said["filled"]),
        notes={str(key): str(value) for key, value in said["notes"].items()},
    )


def _check(head_pose: np.ndarray, dynamics: np.ndarray, fps: Fraction) -> None:
    """Raises: ValueError for what no face does."""
    if len(head_pose) == 0 or fps <= 0:
        raise ValueError(f"{len(head_pose)} frames at {fps} a second")
    if not (np.isfinite(head_pose).all() and np.isfinite(dynamics).all()):
        raise ValueError("values that are no numbers")
    furthest = np.abs(dynamics).max(1)
    if furthest.max() > FURTHEST:
        raise ValueError(
            f"dynamics of {furthest.max():.0f} standard deviations in frame {furthest.argmax()},"
            f" where no face goes beyond {FURTHEST:.0f}"
        )


def _not_motion(path: Path, seen: str) -> InputError:
    return InputError(
        f"{path} is not a motion file ({seen}); make one with `vasa motion` or `vasa extract`"
    )
