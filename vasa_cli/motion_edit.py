"""Cutting, joining, mixing and converting recorded motion; recordings in, new recordings out."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from vasa_cli.errors import UsageError
from vasa_cli.face_parts import mixed, smoothstep
from vasa_cli.geometry import N_HEAD_POSE, Geometry
from vasa_cli.motion import Motion, catmull_rom
from vasa_cli.motion_file import Recording
from vasa_cli.smoothing import smooth


def stacked(motion: Motion) -> np.ndarray:
    """Head pose and dynamics side by side, (T, 54)."""
    return np.concatenate([motion.head_pose, motion.dynamics], 1)


def unstacked(values: np.ndarray, fps: Fraction) -> Motion:
    """The motion whose `stacked` values (T, 54) are."""
    return Motion(values[:, :N_HEAD_POSE], values[:, N_HEAD_POSE:], fps)


def part(motion: Motion, frames: slice) -> Motion:
    """Some frames of a motion."""
    return replace(motion, head_pose=motion.head_pose[frames], dynamics=motion.dynamics[frames])


def cut(recording: Recording, first: int, last: int) -> Recording:
    """Frames first to last, both included, counted from 0.

    Raises: UsageError when a frame is not there.
    """
    n_frames = len(recording.motion)
    if not 0 <= first <= last < n_frames:
        raise UsageError(f"frames {first}-{last} are not in the motion, which has 0-{n_frames - 1}")
    shots = [
        k for k, shot in enumerate(recording.shots) if shot.start <= last and shot.stop > first
    ]
    return replace(
        recording,
        motion=part(recording.motion, slice(first, last + 1)),
        origin=None if recording.origin is None else recording.origin[shots],
        cuts=tuple(k - first for k in recording.cuts if first < k <= last),
        filled=tuple(
            (max(a, first) - first, min(b, last) - first)
            for a, b in recording.filled
            if a <= last and b >= first
        ),
        made_by="motion cut",
    )


def join(recordings: list[Recording], *, blend_s: float = 0.0) -> Recording:
    """One recording after the other at the first one's rate.

    Each one's end and the next one's beginning overlap by `blend_s`, the one fading into the other.
    Without a blend every seam is kept as a cut; where one fades it is none.

    Raises: UsageError when their dynamics mean different things, or a blend is longer than one.
    """
    fps = recordings[0].motion.fps
    bases = {r.basis for r in recordings if r.basis}
    if len(bases) > 1:
        raise UsageError(
            "the motions were made with different geometry weights, so they cannot be joined"
        )
    n_blend = round(blend_s * fps)
    parts = [resample(r, fps) for r in recordings]
    if n_blend and min(len(r.motion) for r in parts) <= 2 * n_blend:
        shortest = min(parts, key=lambda r: len(r.motion))
        raise UsageError(
            f"a blend of {blend_s:g} s is too long for a motion of {shortest.duration_s:.2f} s"
        )
    values, cuts, filled = stacked(parts[0].motion), parts[0].cuts, parts[0].filled
    for recording in parts[1:]:
        new, start = stacked(recording.motion), len(values) - n_blend
        # both ends count in full beyond the overlap, so the shares stop short of 0 and 1
        share = smoothstep((np.arange(n_blend) + 1) / (n_blend + 1))[:, None]
        mixed = values[start:] * (1 - share) + new[:n_blend] * share
        values = np.concatenate([values[:start], mixed, new[n_blend:]])
        if not n_blend:
            cuts += (start,)
        cuts += tuple(start + k for k in recording.cuts)
        filled += tuple((start + a, start + b) for a, b in recording.filled)
    origins = [r.origin for r in parts]
    known = [origin for origin in origins if origin is not None]
    whole = len(known) == len(parts) and not n_blend
    return Recording(
        unstacked(values, fps),
        basis=bases.pop() if bases else "",
        source=", ".join(dict.fromkeys(r.source for r in recordings if r.source)),
        made_by="motion join",
        origin=np.concatenate(known) if whole else None,
        cuts=cuts,
        filled=filled,
    )


def fitted(recording: Recording, n_frames: int, policy: str) -> Recording:
    """The same recording, as long as asked by one of `config.FITS`.

    trim cuts it off, hold keeps its last frame, loop runs it backwards and forwards again, stretch
    changes its pace. Only stretch changes what is longer otherwise than by cutting it off.

    Raises: UsageError when trim would have to make it longer.
    """
    here = len(recording.motion)
    if here == n_frames:
        return recording
    if policy == "trim" and here < n_frames:
        raise UsageError(
            f"the motion has {here} frames where {n_frames} are needed; take --fit hold, loop or"
            " stretch"
        )
    position = fit_positions(here, n_frames, policy)
    values = catmull_rom(stacked(recording.motion), position)
    return Recording(
        unstacked(values, recording.motion.fps),
        basis=recording.basis,
        source=recording.source,
        source_sha256=recording.source_sha256,
        made_by=recording.made_by,
    )


def fit_positions(n_frames: int, n_wanted: int, policy: str) -> np.ndarray:
    """Which of so many frames is shown at each of those wanted, (n_wanted,); see `fitted`."""
    frames = np.arange(n_wanted, dtype=np.float64)
    if policy == "stretch":
        return np.clip((frames + 0.5) * n_frames / n_wanted - 0.5, 0, n_frames - 1)
    if policy == "loop" and n_frames > 1:
        there = frames % (2 * (n_frames - 1))
        return np.minimum(there, 2 * (n_frames - 1) - there)
    return np.minimum(frames, n_frames - 1)


def mix(
    base: Recording, other: Recording, parts: tuple[str, ...], geometry: Geometry, *, policy: str
) -> Recording:
    """The base, some of its parts performed as in the other.

    Args:
        parts: some of `config.PARTS`.
        policy: one of `config.FITS`, by which the other becomes as long.

    Raises: UsageError when their dynamics mean different things, or the other is too short.
    """
    if base.basis and other.basis and base.basis != other.basis:
        raise UsageError(
            "the motions were made with different geometry weights, so they cannot be mixed"
        )
    other = fitted(resample(other, base.motion.fps), len(base.motion), policy)
    values = mixed(stacked(base.motion), stacked(other.motion), parts, geometry)
    return base.edited(unstacked(values, base.motion.fps), "motion mix")


def smoothed(recording: Recording, strength: float) -> Recording:
    """The same recording without jitter, each shot by itself."""
    values = stacked(recording.motion).astype(np.float64)
    for shot in recording.shots:
        values[shot] = smooth(values[shot], strength=strength)
    return recording.edited(unstacked(values, recording.motion.fps), "motion smooth")


def resample(recording: Recording, fps: Fraction) -> Recording:
    """The same recording at another rate; shots are resampled each by itself."""
    motion = recording.motion
    if fps == motion.fps:
        return recording

    def at(frame: int) -> int:
        """The new frame at the beginning of an old one."""
        return round(frame * fps / motion.fps)

    n_frames = max(1, at(len(motion)))
    # a shot that becomes shorter than a frame is dropped with its cut
    kept, edges = [], [at(s.start) for s in recording.shots] + [n_frames]
    pieces = []
    for k, shot in enumerate(recording.shots):
        n = edges[k + 1] - edges[k]
        if n > 0:
            kept.append(k)
            pieces.append(stacked(part(motion, shot).resample(fps, n)))
    last = n_frames - 1
    return replace(
        recording,
        motion=unstacked(np.concatenate(pieces), fps),
        origin=None if recording.origin is None else recording.origin[kept],
        cuts=tuple(edges[k] for k in kept[1:]),
        filled=tuple(
            (min(at(a), last), min(max(at(a), at(b + 1) - 1), last)) for a, b in recording.filled
        ),
        made_by="motion resample",
    )
