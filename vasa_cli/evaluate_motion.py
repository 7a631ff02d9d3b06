"""How well sampled motion fits its sound and how much it is like filmed people's, in figures.

Everything is measured on motion as the renderer performs it, the same sampler and the same rest in
silence. Lengths are in face heights, angles in degrees; a share is 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np

from vasa_cli.audio import Audio, load_audio
from vasa_cli.config import MOTION_FPS, SAMPLE_RATE
from vasa_cli.diffusion import WINDOW
from vasa_cli.errors import InputError
from vasa_cli.geometry import Geometry
from vasa_cli.models.audio_encoder import N_CLASSES
from vasa_cli.motion import Motion
from vasa_cli.motion_figures import (
    Face,
    blinks,
    drift,
    head_speed,
    jitter,
    lag_curve,
    over_speakers,
    peak,
    read_face,
    seam_ratio,
    smooth,
    turn_per_frame,
)
from vasa_cli.spoken_figures import (
    CLOSED,
    TO_TEETH,
    Spoken,
    closures,
    lip_to_teeth,
    openings_at_vowels,
    rest_in_pauses,
    width_follows,
)

Perform = Callable[[Audio, int], Motion]  # a sound and a seed to motion at MOTION_FPS
Tell = Callable[[str], None]
Figures = dict[str, float]

FRAME_MS = 1000 / MOTION_FPS
LAGS = range(-5, 6)  # frames by which generated lips may trail filmed ones
STRESS_LAGS = range(-10, 11)  # frames by which head and brows may trail the voice
LONG_FRAMES = 75  # shorter clips say nothing of head and eyes
SMOOTH_FRAMES = 5  # over which head speed and energy are compared
N_SHUFFLES = 5
QUIET_S = 60.0
ROOM_DB = -60.0  # of full scale: a quiet room
SPEECH_DB = -23.0  # to which sounds are brought before they are joined
BLINK_S = (0.1, 0.4)  # what is natural

# What is asked of the figures: lowest and highest, None where there is no bound.
ASKED: dict[str, tuple[float | None, float | None]] = {
    "lips.opening": (0.55, None),
    "lips.opening_lag_ms": (-40.0, 40.0),
    "phones.bilabials_closed": (0.85, None),
    "phones.width_least_voice": (0.0, None),
    "silence.opening_p95": (None, 0.15),
    "silence.pauses_p95": (None, 0.15),
    "silence.blinks_per_minute": (4.0, None),
    "silence.turn": (0.02, None),
    "head.turn": (0.25, 0.6),
    "head.blinks_per_minute": (8.0, 25.0),
    "head.blink_s": BLINK_S,
    "head.stress_margin": (0.0, None),
    "head.jitter": (None, 1.2),
    "head.lips_jitter": (None, 1.2),
    "long.trend": (None, 1.0),
    "long.spread": (None, 1.25),
    "long.seam_head": (None, 1.0),
    "long.seam_face": (None, 1.0),
}


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


def evaluate(
    filmed: Sequence[Filmed],
    spoken: Sequence[Spoken],
    perform: Perform,
    geometry: Geometry,
    *,
    minutes: float = 10.0,
    seed: int = 0,
    tell: Tell = lambda line: None,
) -> dict[str, Any]:
    """All figures by section; tables by row are under "voices" and "kinds".

    Raises:
        InputError: there is no clip.
    """
    if not filmed:
        raise InputError(
            "no clip shows a face throughout and has sound; give clips of talking people"
        )
    pairs = []
    for k, clip in enumerate(filmed):
        motion = cut_to(perform(load_audio(clip.path), seed + k), len(clip.motion))
        real, made = (read_face(each, geometry) for each in (clip.motion, motion))
        pairs.append(Pair(clip, real, made, motion))
        tell(f"{k + 1} of {len(filmed)} clips: {clip.path.name}")
    figures: dict[str, Any] = {"lips": lips(pairs)}
    rows: list[tuple[Spoken, Figures]] = []
    for k, speech in enumerate(spoken):
        face = read_face(perform(speech.audio, seed + k), geometry)
        rows.append((speech, spoken_row(face, speech)))
        tell(f"{speech.kind}, {speech.voice}")
    if rows:
        figures["phones"] = phones([row for speech, row in rows if speech.kind == "voice"])
    tell(f"{minutes:g} minutes of speech")
    long = perform(joined_sound(filmed, minutes * 60), seed)
    face = read_face(long, geometry)
    figures["head"] = head(pairs, face, geometry)
    figures["long"] = long_run(long)
    tell("silence")
    widest = float(np.percentile(face.opening, 99)) + 1e-9
    figures["silence"] = silence(perform, geometry, widest=widest, seed=seed)
    if rows:
        figures["silence"]["pauses_p95"] = float(np.mean([row["pauses_p95"] for _, row in rows]))
    figures["voices"] = {s.voice: row for s, row in rows if s.kind == "voice"}
    figures["kinds"] = {s.kind: row for s, row in rows if s.kind != "voice"}
    return figures


def cut_to(motion: Motion, n_frames: int) -> Motion:
    """The first frames of a motion, its last one held where it is shorter."""
    index = np.minimum(np.arange(n_frames), len(motion) - 1)
    return replace(motion, head_pose=motion.head_pose[index], dynamics=motion.dynamics[index])


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


def by_speaker(
    pairs: Sequence[Pair], measure: Callable[[Pair], np.ndarray]
) -> dict[str, list[np.ndarray]]:
    """A measure of every clip, under its speaker."""
    found: dict[str, list[np.ndarray]] = {}
    for pair in pairs:
        found.setdefault(pair.clip.speaker, []).append(measure(pair))
    return found


def spoken_row(face: Face, speech: Spoken) -> Figures:
    """What the lips do in one speech of known phones."""
    shut, wide = closures(face, speech.labels), openings_at_vowels(face, speech.labels)
    teeth, pauses = lip_to_teeth(face, speech.labels), rest_in_pauses(face, speech.labels)
    return {
        "n_bilabials": float(len(shut)),
        "bilabials_closed": share(shut < CLOSED),
        "open_vowels_closed": share(wide < CLOSED),
        "n_labiodentals": float(len(teeth)),
        "labiodentals_to_teeth": share(teeth < TO_TEETH),
        "width": width_follows(face, speech.labels),
        "widest": float(face.opening.max()),
        "pauses_p95": float(np.percentile(pauses, 95)) if len(pauses) else float("nan"),
        "turn": turn_per_frame(face.angles),
    }


def share(flags: np.ndarray) -> float:
    """Of True; NaN where there is nothing."""
    return float(flags.mean()) if len(flags) else float("nan")


def phones(rows: Sequence[Figures]) -> Figures:
    """All voices together: every phone counts once."""
    found = {"voices": float(len(rows))}
    for name, of in (
        ("bilabials_closed", "n_bilabials"),
        ("open_vowels_closed", "n_bilabials"),
        ("labiodentals_to_teeth", "n_labiodentals"),
    ):
        found[name] = float(np.average([r[name] for r in rows], weights=[r[of] for r in rows]))
    found["bilabials"] = float(sum(r["n_bilabials"] for r in rows))
    found["labiodentals"] = float(sum(r["n_labiodentals"] for r in rows))
    found["width_mean"] = float(np.mean([r["width"] for r in rows]))
    found["width_least_voice"] = float(np.min([r["width"] for r in rows]))
    return found


def silence(perform: Perform, geometry: Geometry, *, widest: float, seed: int) -> Figures:
    """A minute of digital silence and one of a quiet room: of each figure the worse.

    Args: widest how far the mouth opens in speech, of which "opening_p95" is a share.
    """
    rng = np.random.default_rng(0)
    n = round(QUIET_S * SAMPLE_RATE)
    room = rng.normal(size=n) * 32767 * 10 ** (ROOM_DB / 20)
    rows = []
    for samples in (np.zeros(n, np.int16), room.astype(np.int16)):
        face = read_face(perform(Audio(Path("silence"), samples), seed), geometry)
        opening = float(np.percentile(face.opening, 95)) / widest
        often = len(blinks(face.eyes, face.fps)) * 60 / QUIET_S
        rows.append((opening, turn_per_frame(face.angles), often))
    openings, turns, blinking = zip(*rows)
    return {
        "opening_p95": max(openings),
        "turn": min(turns),
        "blinks_per_minute": min(blinking),
    }


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


def long_run(motion: Motion) -> Figures:
    """Whether the head of a long motion wanders off or calms down, and its seams."""
    found = {"minutes": len(motion) / float(motion.fps) / 60}
    found |= drift(motion.head_pose)
    found["trend_deg"] = drift(motion.head_pose[:, :3])["trend_size"]
    for name, values in (("head", motion.head_pose), ("face", motion.dynamics)):
        alike = values / (values.std(0) + 1e-9)
        found[f"seam_{name}"] = seam_ratio(alike, WINDOW)
        found[f"seam_{name}_kink"] = seam_ratio(alike, WINDOW, order=2)
    return found


def joined_sound(filmed: Sequence[Filmed], duration_s: float) -> Audio:
    """The clips' sounds one after the other, equally loud; again from the first if they are few."""
    n_wanted, parts, n_samples = round(duration_s * SAMPLE_RATE), [], 0
    for clip in filmed:
        wave = load_audio(clip.path).as_float()
        level = float(np.sqrt(np.mean(np.square(wave))))
        parts.append(np.clip(wave * 10 ** (SPEECH_DB / 20) / max(level, 1e-5), -1, 1))
        n_samples += len(wave)
        if n_samples >= n_wanted:
            break
    whole = np.resize(np.concatenate(parts), n_wanted)
    return Audio(Path("all clips"), (whole * 32767).astype(np.int16))
