"""How well sampled motion fits its sound and how much it is like filmed people's, in figures.

Everything is measured on motion as the renderer performs it, the same sampler and the same rest in
silence. Lengths are in face heights, angles in degrees; a share is 0 to 1.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np

from vasa_cli.audio import Audio, load_audio
from vasa_cli.config import SAMPLE_RATE
from vasa_cli.diffusion import WINDOW
from vasa_cli.errors import InputError
from vasa_cli.filmed_figures import BLINK_S, Figures, Filmed, Pair, head, lips, synchronies
from vasa_cli.geometry import Geometry
from vasa_cli.models.capp import Capp
from vasa_cli.motion import Motion
from vasa_cli.motion_figures import (
    Face,
    blinks,
    drift,
    read_face,
    seam_ratio,
    share,
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

QUIET_S = 60.0
ROOM_DB = -60.0  # of full scale: a quiet room
SPEECH_DB = -23.0  # to which sounds are brought before they are joined

# What is asked of the figures: lowest and highest, None where there is no bound.
ASKED: dict[str, tuple[float | None, float | None]] = {
    "lips.opening": (0.55, None),
    "lips.opening_lag_ms": (-40.0, 40.0),
    "capp_lips.margin": (0.0, None),
    "capp_head.margin": (0.0, None),
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


def evaluate(
    filmed: Sequence[Filmed],
    spoken: Sequence[Spoken],
    perform: Perform,
    geometry: Geometry,
    *,
    capp: Capp | None = None,
    minutes: float = 10.0,
    seed: int = 0,
    tell: Tell = lambda line: None,
) -> dict[str, Any]:
    """All figures by section; tables by row are under "voices" and "kinds".

    Args: capp scores synchrony; those sections are missing without it.
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
    if capp is not None:
        figures |= synchronies(capp, pairs, geometry)
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
