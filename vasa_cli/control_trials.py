"""Films in which a portrait shows every setting of the controls, one after the other.

One motion is sampled, once. Each setting is applied to it by itself, as a render would, and the
frames that tell are drawn: short stretches of the same frames where a control holds something, the
whole beginning of the speech where time matters, the surroundings of blinks where blinks do. All
stretches follow each other in one film, so that an instrument starts once a portrait; since it may
remember, the first frames of each stretch are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from vasa_cli.audio import Audio, frame_count, load_audio
from vasa_cli.blinks import find_blinks, scale_blinks
from vasa_cli.config import Controls, RenderOptions
from vasa_cli.controls import apply_controls, lid_openings
from vasa_cli.errors import InputError
from vasa_cli.motion import resting_dynamics
from vasa_cli.motion_edit import stacked, unstacked
from vasa_cli.pipeline import Renderer
from vasa_cli.placement import place
from vasa_cli.shown import Series
from vasa_cli.timeline import Keyframe, Timeline
from vasa_cli.video import VideoWriter

YAWS, PITCHES = (-20, -10, 10, 20), (-12, -6, 6, 12)
DISTANCES = (0.8, 0.9, 1.1, 1.25)
POSES = ((-20, -10, 10, 20), (-15, -8, 8, 15), (-15, -8, 8, 15))
STRENGTHS = (0.25, 0.5, 0.75, 1.0)
SCALES = (0, 0.5, 2)
STEP_S = 0.6  # when the timeline's step is
FELT = ("happy", "sad", "angry", "surprised", "fearful", "disgusted", "contemptuous")

SETTLE = 3  # frames of each stretch that are not counted: a tracker still comes from the one before
HELD = 12  # frames of the stretch that shows what is held
AWAKE = 0.8  # of the usual opening of the eyes: no less in that stretch
BLINK_S = 10.0  # of the speech are searched for blinks
NEAR_BLINK = 6  # frames around a blink that are drawn


@dataclass(frozen=True)
class Take:
    """One stretch of the film: what is asked in it, and what of the motion it shows."""

    asked: Mapping[str, Any]
    frames: np.ndarray  # (n,) numbers of the motion's frames
    held: slice  # of these, what settings are compared by: the same frames of the motion in all


@dataclass(frozen=True)
class Trial:
    """What was measured of one take: series, NaN in its first frames, and the face's identity."""

    series: Series
    held: slice = field(default_factory=lambda: slice(None))
    identity: np.ndarray | None = None

    def mean(self, name: str) -> float:
        """Of a quantity over the frames that all takes share."""
        return float(np.nanmean(self.series[name][self.held]))


def settings() -> dict[str, dict[str, Any]]:
    """Every setting that is shown, by name."""
    made: dict[str, dict[str, Any]] = {"none": {}, "gaze 0,0": {"gaze": (0, 0)}}
    for k, steps in enumerate((YAWS, PITCHES)):
        for step in steps:
            aim = (step, 0) if k == 0 else (0, step)
            made[f"gaze {aim[0]},{aim[1]}"] = {"gaze": aim}
    made |= {f"distance {r:g}": {"distance": r} for r in DISTANCES}
    made["pose 0,0,0"] = {"pose": (0, 0, 0)}
    for k, steps in enumerate(POSES):
        for step in steps:
            held = tuple(step if k == axis else 0 for axis in range(3))
            made["pose " + ",".join(map(str, held))] = {"pose": held}
    for name in FELT:
        made |= {f"{name} {s:g}": {"emotion": {name: s}} for s in STRENGTHS}
    for control in ("expression", "blink"):
        made |= {f"{control} {s:g}": {control: s} for s in SCALES}
    made["blink 1"] = {}
    # a moving jaw turns the axes by which a head's pose is told, so the face is still here
    quiet = {"expression": 0, "blink": 0}
    made |= {f"head_motion {s:g}": {"head_motion": s} | quiet for s in (1, *SCALES)}
    made["gaze_wander 0"] = {"gaze_wander": 0}
    made["pose_offset 8,0,0"] = {"pose_offset": (8, 0, 0)}
    made["still"] = {"still": True}
    keys = (Keyframe(0, (0.0, 0.0)), Keyframe(STEP_S, (15.0, 0.0), "step"))
    made["step"] = {"timeline": Timeline((("gaze", keys),)), "gaze_wander": 0}
    return made


def lasts(name: str) -> bool:
    """Whether a setting is shown in time: lips, the head's and the face's movement."""
    scaled = ("head_motion", "expression")
    full = (f"{felt} {STRENGTHS[-1]:g}" for felt in FELT)
    return name in ("none", *full) or name.split()[0] in scaled


def plan(lids: np.ndarray, turn: np.ndarray, *, n_frames: int, fps: float) -> dict[str, Take]:
    """The takes of a film, by the names of their settings.

    What is held is shown where the eyes are open and the head is nearest to how it rests.

    Args:
        lids: how far the motion opens the eyes (T,).
        turn: how far the head is turned from rest (T,), degrees.
        n_frames: of the takes that last.
    """
    reach = min(HELD, n_frames)
    usual = float(np.median(lids))

    def unrest(first: int) -> tuple[bool, float]:
        stretch = slice(first, first + reach)
        return bool(lids[stretch].min() < AWAKE * usual), float(turn[stretch].mean())

    first = min(range(n_frames - reach + 1), key=unrest)
    stretch = np.arange(first, first + reach)
    made = {}
    for name, asked in settings().items():
        if name == "step":
            frames = np.arange(min(2 * round(STEP_S * fps), len(lids)))
            take = Take(asked, frames, slice(SETTLE, None))
        elif lasts(name):
            take = Take(asked, np.arange(n_frames), slice(first + SETTLE, first + reach))
        else:
            take = Take(asked, stretch, slice(SETTLE, None))
        made[name] = take
    return made | blink_takes(lids, made["gaze 0,0"], fps)


def blink_takes(lids: np.ndarray, held: Take, fps: float) -> dict[str, Take]:
    """The takes of blinks: their surroundings, or what a take that holds something shows.

    Args: lids (T,) as of `plan`.
    """
    near = near_blinks(lids, fps=fps)
    frames = near if len(near) else held.frames
    blinking = {name: asked for name, asked in settings().items() if name.startswith("blink ")}
    return {name: Take(asked, frames, slice(SETTLE, None)) for name, asked in blinking.items()}


def near_blinks(lids: np.ndarray, *, fps: float) -> np.ndarray:
    """The frames around all blinks that any scale makes of an opening (T,), in order."""
    near = np.zeros(len(lids), bool)
    for scale in (1, *SCALES):
        scaled = scale_blinks(lids[:, None], np.full(len(lids), float(scale)), fps=fps)[:, 0]
        for blink in find_blinks(scaled, fps=fps):
            near[max(0, blink.start - NEAR_BLINK) : blink.stop + NEAR_BLINK] = True
    return np.flatnonzero(near)


class Stage:
    """Films portraits with every setting, all with the same motion."""

    def __init__(self, renderer: Renderer, speech: Path, options: RenderOptions) -> None:
        """Samples the motion.

        Args: options as of a render; its preview is how long the takes that last are.

        Raises: InputError when there is no speech, or too little.
        """
        assert options.preview_s is not None
        self.renderer, self.options = renderer, options
        audio = load_audio(speech, max_seconds=max(BLINK_S, options.preview_s))
        n_frames = frame_count(len(audio.samples), audio.sample_rate, options.fps)
        recording = renderer.record(audio, options)
        self.seed = recording.seed or 0
        self.motion = recording.motion.resample(options.fps, n_frames)
        self.level = speech_level(audio, n_frames)
        rest = np.zeros(self.motion.dynamics.shape[1])
        lids = lid_openings(self.motion.dynamics, rest, renderer.models.geometry).mean(1)
        lasting = min(n_frames, round(options.preview_s * options.fps))
        if lasting < HELD:
            raise InputError(
                f"{speech} is too short to measure controls with; give 2 seconds of speech"
            )
        turn = np.linalg.norm(self.motion.head_pose[:, :2], axis=1)
        self.takes = plan(lids, turn, n_frames=lasting, fps=float(options.fps))

    def film(self, photo: Path, video: Path) -> dict[str, Take]:
        """Write the film of a portrait: all takes one after the other, without sound.

        Returns: the takes; when eyes that are wide or narrow at rest blink differs a little.

        Raises: InputError when the photo cannot be read or shows no face.
        """
        models = self.renderer.models
        portrait = self.renderer.read_portrait(photo, self.options)
        rest = resting_dynamics(portrait.code, models.geometry.dynamics_limit)
        lids = lid_openings(self.motion.dynamics, rest, models.geometry).mean(1)
        takes = self.takes | blink_takes(lids, self.takes["gaze 0,0"], float(self.options.fps))
        takes = {name: takes[name] for name in self.takes}
        shown = []
        for take in takes.values():
            moved, _ = apply_controls(
                self.motion,
                Controls(**take.asked),
                code=portrait.code,
                geometry=models.geometry,
                emotions=models.emotions,
                seed=self.seed,
            )
            shown.append(stacked(moved)[take.frames])
        motion = unstacked(np.concatenate(shown), self.options.fps)
        placement = place(portrait.picture, portrait.window, self.options)
        with VideoWriter(
            video,
            width=placement.width,
            height=placement.height,
            fps=self.options.fps,
            audio=None,
            duration_s=float(len(motion) / self.options.fps),
            crf=self.options.crf,
            threads=1,
        ) as writer:
            for frame in self.renderer.draw(portrait, [motion], placement):
                writer.write(frame)
        return takes


def cut(series: Series, takes: Mapping[str, Take]) -> dict[str, Trial]:
    """Each take's part of what was measured of a whole film.

    Raises: InputError when not every frame was measured.
    """
    n_frames, found = sum(len(take.frames) for take in takes.values()), {}
    seen = min(len(values) for values in series.values())
    if seen != n_frames:
        raise InputError(f"{seen} frames were measured of a film of {n_frames}")
    for name, start in starts(takes).items():
        inside = slice(start, start + len(takes[name].frames))
        own = {q: values[inside].astype(np.float64) for q, values in series.items()}
        for values in own.values():
            values[:SETTLE] = np.nan
        found[name] = Trial(own, takes[name].held)
    return found


def starts(takes: Mapping[str, Take]) -> dict[str, int]:
    """At which frame of the film each take begins."""
    ends = np.cumsum([len(take.frames) for take in takes.values()])
    return dict(zip(takes, (0, *(int(end) for end in ends))))


def speech_level(audio: Audio, n_frames: int) -> np.ndarray:
    """Loudness of the sound under each frame (T,), dB, at most 35 under the loudest."""
    samples = audio.as_float(0, len(audio.samples))
    parts = np.array_split(samples.astype(np.float64), n_frames)
    level = np.array([10 * np.log10(np.square(part).mean() + 1e-10) for part in parts])
    return np.asarray(np.maximum(level, level.max() - 35))
