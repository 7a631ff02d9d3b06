"""A portrait performs what a filmed face, or a motion file, did."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vasa_cli.audio import frame_count, load_audio
from vasa_cli.config import PARTS, Progress, ProgressCallback, RenderOptions, RenderResult
from vasa_cli.errors import UsageError
from vasa_cli.extraction import extract
from vasa_cli.face_parts import mixed
from vasa_cli.film import open_film
from vasa_cli.geometry import N_HEAD_POSE, FaceCode, Geometry
from vasa_cli.marked_video import Making, write_marked
from vasa_cli.motion import MOUTH_OPEN, Motion, resting_dynamics
from vasa_cli.motion_edit import fitted, part, resample, stacked, unstacked
from vasa_cli.motion_file import SUFFIX, Recording, basis_of, check_basis, load_motion
from vasa_cli.pipeline import Renderer, sound_warnings
from vasa_cli.placement import place
from vasa_cli.video import check_output

NEUTRALS = ("median", "first")  # what motion may be counted from, beside the number of a frame


@dataclass(frozen=True, kw_only=True)
class Driving:
    """How a motion is taken over; every default of `vasa animate` stands here."""

    parts: tuple[str, ...] = ()  # of `config.PARTS`; empty: all, or all but the lips with a speech
    neutral: str = "median"  # one of NEUTRALS, or the number of a frame, which is rest
    absolute: bool = False  # turn and expression as filmed, not as changes from rest
    speech: Path | None = None  # heard in the video; drives the parts that are not taken over
    fit: str = "trim"  # how the motion is made as long as the speech: one of `config.FITS`
    face: int | None = None  # of the driving film, counted from 1 on the left
    smooth: float = 1.0  # strength of the smoothing of a film's motion

    def __post_init__(self) -> None:
        """Raises: UsageError for a neutral frame that is none, or with `absolute`."""
        if self.neutral not in NEUTRALS and not self.neutral.isdecimal():
            raise UsageError(
                f"neutral {self.neutral} is neither {' nor '.join(NEUTRALS)} nor a frame's number"
            )
        if self.absolute and self.neutral != NEUTRALS[0]:
            raise UsageError("absolute motion has no neutral frame; give one or the other")

    @property
    def taken(self) -> tuple[str, ...]:
        """The parts that the motion drives."""
        if self.parts:
            return self.parts
        return PARTS if self.speech is None else tuple(p for p in PARTS if p != "lips")


def animate(
    renderer: Renderer,
    photo: Path,
    driver: Path,
    output: Path,
    *,
    options: RenderOptions,
    driving: Driving = Driving(),
    fps_from_driver: bool = True,
    progress: ProgressCallback | None = None,
) -> RenderResult:
    """Write the video in which the photo's face does what the driver's did.

    Args:
        driver: a video, or a motion file (.safetensors).
        fps_from_driver: the video has the driver's rate, not the options'.

    Raises: UsageError, InputError, ResourceError as their names say; nothing is left then.
    """
    started_s = time.monotonic()
    inputs = (photo, driver, *([driving.speech] if driving.speech else []))
    check_output(output, force=options.force, inputs=inputs)
    tell = progress or (lambda step: None)
    models = renderer.models

    tell(Progress("photo", 0, 1))
    portrait = renderer.read_portrait(photo, options)
    recording, has_sound, warnings = read_driver(renderer, driver, driving, options, tell)
    if fps_from_driver:
        options = replace(options, fps=recording.motion.fps)
    motion = rebased(recording, driving, portrait.code, models.geometry)
    recording = resample(replace(recording, motion=motion), options.fps)
    seed = None
    if driving.speech is not None:
        recording, said = spoken(renderer, recording, driving, options, tell)
        warnings += said
        seed = options.seed
    elif driving.parts:
        still = np.zeros((len(recording.motion), stacked(recording.motion).shape[1]))
        values = mixed(still, stacked(recording.motion), driving.taken, models.geometry)
        recording = replace(recording, motion=unstacked(values, options.fps))
    sound = driving.speech or (driver if has_sound else None)
    motion = recording.motion
    placement = place(portrait.picture, portrait.window, options)
    making = Making(
        output=output,
        source=photo,
        options=options,
        weights_dir=renderer.weights_dir,
        started_s=started_s,
        seed=seed,
        device=models.device.type,
    )
    return write_marked(
        lambda marks: renderer.draw(portrait, [motion], placement, marks),
        making,
        height=placement.height,
        width=placement.width,
        n_frames=len(motion),
        sound=sound,
        warnings=portrait.warnings + warnings,
        tell=tell,
    )


def read_driver(
    renderer: Renderer,
    driver: Path,
    driving: Driving,
    options: RenderOptions,
    tell: ProgressCallback,
) -> tuple[Recording, bool, tuple[str, ...]]:
    """The driver's motion, whether it brings sound, and what is worth saying of it."""
    basis = basis_of(renderer.weights_dir)
    if driver.suffix.lower() == SUFFIX:
        recording = load_motion(driver)
        check_basis(recording, driver, basis)
        if options.preview_s is not None:
            n_frames = max(1, round(options.preview_s * recording.motion.fps))
            kept = part(recording.motion, slice(0, n_frames))
            cuts = tuple(cut for cut in recording.cuts if cut < len(kept))
            origin = None if recording.origin is None else recording.origin[: len(cuts) + 1]
            recording = replace(recording, motion=kept, cuts=cuts, origin=origin, filled=())
        return recording, False, ()
    film = open_film(driver)
    found = extract(
        film,
        renderer.models.reader,
        face=driving.face,
        strength=driving.smooth,
        basis=basis,
        seconds=options.preview_s,
        tell=lambda done, total: tell(Progress("film", done, total)),
    )
    return found.recording, film.info.has_audio, found.warnings


def rebased(recording: Recording, driving: Driving, code: FaceCode, geometry: Geometry) -> Motion:
    """The motion as changes from the sitter's rest, as the driving asks.

    Place and distance are always changes from rest: where a film's frame lies is nothing to the
    photo. The mouth's opening is always counted from closed lips.

    Raises: UsageError when the motion lacks what is asked for.
    """
    motion = recording.motion
    if driving.absolute:
        if recording.origin is None:
            raise UsageError(
                "this motion was sampled and has no pose of its own; leave --absolute away"
            )
        change = stacked(motion) + _spread_origin(recording)
        change[:, 3:N_HEAD_POSE] = motion.head_pose[:, 3:]
        change[:, :3] -= code.head_pose[:3]
        change[:, N_HEAD_POSE:] -= resting_dynamics(code, geometry.dynamics_limit)
        return unstacked(change, motion.fps)
    if driving.neutral == "median":
        return motion
    frame = 0 if driving.neutral == "first" else int(driving.neutral)
    if frame >= len(motion):
        raise UsageError(
            f"there is no frame {frame} to be neutral: the motion has 0-{len(motion) - 1}"
        )
    values = stacked(motion)
    if recording.origin is not None:
        # turn and expression are counted from that frame in every shot
        spread = _spread_origin(recording)
        spread[:, 3:N_HEAD_POSE] = 0.0
        values = values + spread
    rest = values[frame].copy()
    rest[N_HEAD_POSE + MOUTH_OPEN] = 0.0
    return unstacked(values - rest, motion.fps)


def spoken(
    renderer: Renderer,
    recording: Recording,
    driving: Driving,
    options: RenderOptions,
    tell: ProgressCallback,
) -> tuple[Recording, tuple[str, ...]]:
    """The motion made as long as the speech, which drives what the motion does not."""
    assert driving.speech is not None
    tell(Progress("speech", 0, 1))
    audio = load_audio(driving.speech, max_seconds=options.preview_s)
    n_frames = frame_count(len(audio.samples), audio.sample_rate, options.fps)
    recording = fitted(recording, n_frames, driving.fit)
    values = stacked(recording.motion)
    if set(driving.taken) != set(PARTS):
        sampled = renderer.sample_motion(
            audio, options, lambda done, total: tell(Progress("motion", done, total))
        ).resample(options.fps, n_frames)
        values = mixed(stacked(sampled), values, driving.taken, renderer.models.geometry)
    return replace(recording, motion=unstacked(values, options.fps)), sound_warnings(audio)


def _spread_origin(recording: Recording) -> np.ndarray:
    """What each frame's changes are measured from, (T, 54)."""
    assert recording.origin is not None
    spread = np.zeros((len(recording.motion), recording.origin.shape[1]))
    for shot, origin in zip(recording.shots, recording.origin):
        spread[shot] = origin
    return spread
