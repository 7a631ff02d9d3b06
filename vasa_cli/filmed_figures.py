"""Motion made from the sounds of filmed clips, against what the people filmed did.

Lengths are in face heights, angles in degrees; a share is 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Sequence

import numpy as np

from vasa_cli.capp import REJECTED_SHIFT, synchrony
from vasa_cli.config import MOTION_FPS
from vasa_cli.geometry import Geometry
from vasa_cli.models.audio_encoder import N_CLASSES
from vasa_cli.models.capp import PARTS, Capp
from vasa_cli.motion import Motion
from vasa_cli.motion_figures import (
    Face,
    blinks,
    head_speed,
    jitter,
    lag_curve,
    over_speakers,
    peak,
    share,
    smooth,
    turn_per_frame,
)

Figures = dict[str, float]

FRAME_MS = 1000 / MOTION_FPS
LAGS = range(-5, 6)  # frames by which generated lips may trail filmed ones
STRESS_LAGS = range(-10, 11)  # frames by which head and brows may trail the voice
LONG_FRAMES = 75  # shorter clips say nothing of head and eyes
SMOOTH_FRAMES = 5  # over which head speed and energy are compared
N_SHUFFLES = 5
BLINK_S = (0.1, 0.4)  # what is natural


@dataclass(frozen=True, eq=False)
class Filmed:
    """A filmed clip with sound: what the person really did."""

    path: Path
    speaker: str  # who it is, as far as the name tells
    motion: Motion  # at MOTION_FPS
    speech: np.ndarray  # (2 T, F) features of the sound, two a frame
    lips: bool  # whether its lips are a person's own, and follow the sound

    @property
    def energy(self) -> np.ndarray:
        """Loudness of every frame, (T,)."""
        pairs = self.speech[: 2 * len(self.motion), N_CLASSES].reshape(-1, 2)
        return np.asarray(pairs.mean(1), np.float64)


@dataclass(frozen=True, eq=False)
class Pair:
    """A clip's own performance and the one that is made from its sound."""

    clip: Filmed
    real: Face
    made: Face
    made_motion: Motion


def lips(pairs: Sequence[Pair]) -> Figures:
    """Made lips against filmed ones: means over speakers of correlations over time in each clip.

    "opening" and "width" at no lag; the lag at which the mean curve is highest, positive where made
    lips come late; "spread" of the opening, made over real; "energy": the opening with the sound's
    loudness, made and real.
    """
    trusted = [pair for pair in pairs if pair.clip.lips]
    if not trusted:
        return {"clips": 0.0}
    curves = {
        name: over_speakers(
            by_speaker(
                trusted, lambda p: lag_curve(getattr(p.made, name), getattr(p.real, name), LAGS)
            )
        )
        for name in ("opening", "width")
    }
    energy = {
        who: over_speakers(
            by_speaker(trusted, lambda p: lag_curve(getattr(p, who).opening, p.clip.energy, LAGS))
        )
        for who in ("made", "real")
    }
    spread = over_speakers(
        by_speaker(
            trusted, lambda p: np.array([p.made.opening.std() / (p.real.opening.std() + 1e-4)])
        )
    )
    found = {
        "clips": float(len(trusted)),
        "speakers": float(len({p.clip.speaker for p in trusted})),
    }
    for name, curve in curves.items():
        best, lag = peak(curve, LAGS)
        found |= {name: float(curve[len(curve) // 2]), f"{name}_best": best}
        found[f"{name}_lag_ms"] = lag * FRAME_MS
    for who, curve in energy.items():
        best, lag = peak(curve, LAGS)
        found |= {f"energy_{who}": best, f"energy_{who}_lag_ms": lag * FRAME_MS}
    return found | {"spread": float(spread[0])}


def synchronies(capp: Capp, pairs: Sequence[Pair], geometry: Geometry) -> dict[str, Figures]:
    """CAPP's scores of each part of the face; of lips only where they are a person's own.

    "margin" is the score of made motion over that of real motion REJECTED_SHIFT frames off.
    """
    found = {}
    for part in PARTS:
        chosen = [pair for pair in pairs if pair.clip.lips or part != "lips"]
        heard = [pair for pair in chosen if pair.clip.energy.std() > 1e-3]
        clips, made = [pair.clip for pair in heard], [pair.made_motion for pair in heard]
        row = synchrony(capp, part, clips, made, geometry)
        if "made" in row:
            row["margin"] = row["made"] - row[f"shifted_{REJECTED_SHIFT}"]
        found[f"capp_{part}"] = row
    return found


def by_speaker(
    pairs: Sequence[Pair], measure: Callable[[Pair], np.ndarray]
) -> dict[str, list[np.ndarray]]:
    """A measure of every clip, under its speaker."""
    found: dict[str, list[np.ndarray]] = {}
    for pair in pairs:
        found.setdefault(pair.clip.speaker, []).append(measure(pair))
    return found


def head(pairs: Sequence[Pair], long: Face, geometry: Geometry) -> Figures:
    """Head, eyes and brows of the long speech, and beside them those of the filmed clips.

    "stress": the highest correlation over lags of head speed and of brow height with the sound's
    loudness, and with that of shuffled sound; "jitter": made over real.
    """
    lasting = [pair for pair in pairs if len(pair.clip.motion) >= LONG_FRAMES]
    lengths = [d for _, d in blinks(long.eyes, long.fps)]
    found = {
        "turn": turn_per_frame(long.angles),
        "blinks_per_minute": len(lengths) * 60 * float(long.fps) / len(long.eyes),
        "blink_s": float(np.median(lengths)) if lengths else float("nan"),
        "blinks_natural": share(np.array([BLINK_S[0] <= d <= BLINK_S[1] for d in lengths])),
        "lasting_clips": float(len(lasting)),
    }
    if not lasting:
        return found
    real = [d for pair in lasting for _, d in blinks(pair.real.eyes, pair.real.fps)]
    minutes = sum(len(pair.real.eyes) for pair in lasting) / MOTION_FPS / 60
    found |= {
        "turn_real": float(np.mean([turn_per_frame(pair.real.angles) for pair in lasting])),
        "blinks_per_minute_real": len(real) / minutes,
        "blink_s_real": float(np.median(real)) if real else float("nan"),
    }
    margins = []
    for who in ("made", "real"):
        for name, series in (
            ("speed", lambda f: head_speed(f.angles)),
            ("brows", lambda f: f.brows),
        ):
            heard, shuffled = stress([(series(getattr(p, who)), p.clip.energy) for p in lasting])
            found |= {f"{name}_{who}": heard, f"{name}_{who}_shuffled": shuffled}
            margins += [heard - shuffled] if who == "made" else []
    found["stress_margin"] = max(margins)
    shaking = {
        who: [jitter(m, geometry) for m in motions]
        for who, motions in (
            ("made", [pair.made_motion for pair in lasting]),
            ("real", [pair.clip.motion for pair in lasting]),
        )
    }
    for name, part in (("jitter", "head"), ("lips_jitter", "lips")):
        made, filmed = (sum(each[part] for each in shaking[who]) for who in ("made", "real"))
        found[name] = float(made / filmed)
    return found


def stress(series: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """How well movements (T,) follow the loudness (T,) of their sounds, and at best that of others.

    Correlations over the clips together, at the lag where they are highest. The other sounds are
    the same ones, moved along all clips.
    """
    moved = [smooth(a, SMOOTH_FRAMES) for a, _ in series]
    loud = [smooth(b, SMOOTH_FRAMES) for _, b in series]
    edges = np.cumsum([len(b) for b in loud])
    every = np.concatenate(loud)

    def highest(energies: Sequence[np.ndarray]) -> float:
        curves = [lag_curve(a, b, STRESS_LAGS) for a, b in zip(moved, energies)]
        lengths = np.array([len(a) for a in moved], float)
        kept = np.array([not np.isnan(curve).any() for curve in curves])
        if not kept.any():
            return float("nan")
        return float(np.average(np.stack(curves)[kept], axis=0, weights=lengths[kept]).max())

    others = []
    for k in range(1, N_SHUFFLES + 1):
        rolled = np.roll(every, len(every) * k // (N_SHUFFLES + 1))
        others.append(highest(np.split(rolled, edges[:-1])))
    return highest(loud), max(others, key=lambda value: -1.0 if np.isnan(value) else value)
