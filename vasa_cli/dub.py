"""A film with new words: mouth and jaw follow another speech, all else stays as it was filmed."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from vasa_cli import occlusion
from vasa_cli.audio import frame_count, load_audio
from vasa_cli.config import Progress, ProgressCallback, RenderOptions, RenderResult
from vasa_cli.extraction import Performance, Shot, extract, gaps_of
from vasa_cli.face_parts import lower_face, part_matrix
from vasa_cli.film import open_film
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE, Geometry
from vasa_cli.marked_video import Making, write_marked
from vasa_cli.motion import MOUTH_OPEN, Motion
from vasa_cli.motion_edit import fit_positions
from vasa_cli.pipeline import Renderer, sound_warnings
from vasa_cli.refilm import Plan, draw, faded, square_of
from vasa_cli.repaint import Square, lower_face_mask
from vasa_cli.threads import pool_of
from vasa_cli.video import check_output

FAR_TURNED_DEG = 40.0  # a face turned further is dubbed, and told


def dub(
    renderer: Renderer,
    film_path: Path,
    speech: Path,
    output: Path,
    *,
    options: RenderOptions,
    fit: str = "trim",
    face: int | None = None,
    progress: ProgressCallback | None = None,
) -> RenderResult:
    """Write the film with its mouth moved as the speech wants it, and with that sound.

    Args:
        options: seed, sampler, marks and quality; size, rate and frame are the film's.
        fit: what happens where film and speech differ in length; see `length_of`.
        face: which of several, counted from 1 on the left; the largest when not given.

    Raises: UsageError, InputError, ResourceError as their names say; nothing is left then.
    """
    started_s = time.monotonic()
    check_output(output, force=options.force, inputs=(film_path, speech))
    tell = progress or (lambda step: None)
    film = open_film(film_path)
    options = replace(options, fps=film.fps)
    tell(Progress("speech", 0, 1))
    audio = load_audio(speech, max_seconds=options.preview_s)
    with pool_of(1) as pool:  # reading leaves as much of two cores idle as sampling takes
        sampled = pool.submit(renderer.sample_motion, audio, options)
        performed = extract(
            film,
            renderer.models.reader,
            face=face,
            seconds=options.preview_s,
            tell=lambda done, total: tell(Progress("film", done, total)),
        )
    n_spoken = frame_count(len(audio.samples), audio.sample_rate, film.fps)
    n_filmed = len(performed.track.found)
    n_frames = length_of(n_filmed, n_spoken, fit)
    motion = spoken_for(sampled.result(), n_spoken, n_frames, film.fps)
    clear = uncovered(performed)
    plan = plan_dubbing(performed, clear, motion, fit, renderer.models.geometry)
    making = Making(
        output=output,
        source=film_path,
        options=options,
        weights_dir=renderer.weights_dir,
        started_s=started_s,
        seed=options.seed,
        device=renderer.models.device.type,
    )
    return write_marked(
        lambda marks: draw(renderer, film, performed.track, plan, marks),
        making,
        height=film.size[0],
        width=film.size[1],
        n_frames=n_frames,
        sound=speech,
        warnings=performed.warnings
        + sound_warnings(audio)
        + _warnings(performed, clear, n_filmed, n_spoken, fit),
        tell=tell,
    )


def length_of(n_filmed: int, n_spoken: int, fit: str) -> int:
    """Frames of the result.

    trim ends with the shorter of both. hold lasts as long as the longer: the film's last frame
    stands while speech goes on, and a mouth rests where it has ended. loop and stretch last as long
    as the speech: the film runs backwards and forwards again, or is slowed down or sped up.
    """
    if fit == "trim":
        return min(n_filmed, n_spoken)
    return max(n_filmed, n_spoken) if fit == "hold" else n_spoken


def spoken_for(sampled: Motion, n_spoken: int, n_frames: int, fps: Fraction) -> Motion:
    """A speech's motion at a film's rate, so many frames; at rest where the speech has ended."""
    motion = sampled.resample(fps, min(n_frames, n_spoken))
    rest = n_frames - len(motion)
    if rest <= 0:
        return motion
    return Motion(
        np.concatenate([motion.head_pose, np.zeros((rest, N_HEAD_POSE))]),
        np.concatenate([motion.dynamics, np.zeros((rest, N_DYNAMICS))]),
        motion.fps,
    )


def plan_dubbing(
    performed: Performance, clear: np.ndarray, motion: Motion, fit: str, geometry: Geometry
) -> Plan:
    """Where the face's points are to be in every frame.

    Args:
        clear: (T,) which filmed frames may be changed, as `uncovered` says.
        motion: of N frames, of which only what mouth and jaw do is taken.
    """
    seen = performed.track
    numbers = np.rint(fit_positions(len(seen.found), len(motion), fit)).astype(int)
    share = faded(~clear)[numbers]
    targets = seen.points[numbers].copy()
    squares: list[Square | None] = [None] * len(numbers)
    for shot in performed.shots:
        if shot is None:
            continue
        here = np.flatnonzero((numbers >= shot.frames.start) & (numbers < shot.frames.stop))
        within = numbers[here] - shot.frames.start
        targets[here] = spoken_points(
            seen.points[numbers[here]], shot, within, motion.dynamics[here], geometry
        )
        for k, frame in zip(here.tolist(), within.tolist()):
            if share[k] > 0:
                squares[k] = square_of(shot, frame)
    return Plan(numbers, share, targets, squares, lower_face_mask, parts=("mouth",))


def spoken_points(
    points: np.ndarray, shot: Shot, frames: np.ndarray, spoken: np.ndarray, geometry: Geometry
) -> np.ndarray:
    """Points (N, 478, 3) in pixels whose lower face does what is spoken, the others as they were.

    The mouth is laid over the head as it was held, not over the mouth that was: what that did
    leaves no trace in the new one.

    Args: points as they were read, of frames (N,) of the shot; spoken (N, N_DYNAMICS) changes from
        rest.
    """
    lips = part_matrix("lips", geometry)[N_HEAD_POSE:, N_HEAD_POSE:]
    rest = shot.code.dynamics.copy()
    rest[MOUTH_OPEN] = 0.0
    own = shot.dynamics[frames]
    dynamics = own + (rest + spoken - own) @ lips.T
    laid = geometry.landmarks(shot.code, head_pose=shot.head_pose[frames], dynamics=dynamics)
    share = lower_face(geometry)[:, None]
    moved = points + (shot.window.from_crop(laid) - points) * share
    return moved.astype(np.float32)


def uncovered(performed: Performance) -> np.ndarray:
    """Which frames show the face with nothing before its mouth, (T,)."""
    seen = performed.track
    clear = seen.found.copy()
    for shot in performed.shots:
        if shot is not None:
            clear[shot.frames] &= ~occlusion.hidden(
                seen.lower_faces[shot.frames], shot.head_pose[:, :2], seen.found[shot.frames]
            )
    return clear


def _warnings(
    performed: Performance, clear: np.ndarray, n_filmed: int, n_spoken: int, fit: str
) -> tuple[str, ...]:
    """What a user should know of a film that was dubbed."""
    said, fps = [], float(performed.film.fps)
    covered = performed.track.found & ~clear
    if covered.any():
        gaps = gaps_of(covered)
        listed = ", ".join(f"{a}-{b}" for a, b in gaps[:8]) + (", ..." if len(gaps) > 8 else "")
        said.append(
            f"something passes before the mouth in {int(covered.sum())} frames ({listed});"
            " they are left untouched"
        )
    turns = [np.abs(s.head_pose[:, :2]).max(1) for s in performed.shots if s is not None]
    far = int((np.concatenate(turns) > FAR_TURNED_DEG).sum())
    if far:
        said.append(
            f"the face is turned by more than {FAR_TURNED_DEG:g} degrees in {far} frames; its mouth"
            " may not look right there"
        )
    if fit == "trim" and abs(n_filmed - n_spoken) > 1:
        longer, shorter = ("film", "speech") if n_filmed > n_spoken else ("speech", "film")
        beyond_s = abs(n_filmed - n_spoken) / fps
        said.append(
            f"the {longer} lasts {beyond_s:.2f} s longer than the {shorter}; that is left out"
            " (--fit hold, loop or stretch does otherwise)"
        )
    return tuple(said)
