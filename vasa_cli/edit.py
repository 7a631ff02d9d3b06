"""A film edited: gaze, blinks, emotion, a steadier head, and frames that were missing."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vasa_cli.config import Progress, ProgressCallback, RenderOptions, RenderResult
from vasa_cli.control_values import Emotion
from vasa_cli.controls import follow_gaze, lid_openings, lids_of
from vasa_cli.emotion import KEPT, Emotions, strengths_of
from vasa_cli.errors import UsageError
from vasa_cli.extraction import Performance, Shot, extract, gaps_of
from vasa_cli.eye_edits import aimed, kept_turn, with_blinks
from vasa_cli.face_parts import around_eyes
from vasa_cli.film import open_film
from vasa_cli.gaze import GAZE
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE, Geometry
from vasa_cli.marked_video import Making, write_marked
from vasa_cli.models.decoder import LOCAL_PARTS
from vasa_cli.motion import LIDS, resting_dynamics
from vasa_cli.pipeline import Renderer
from vasa_cli.refilm import Neighbour, Plan, draw, faded, square_of
from vasa_cli.repaint import Square, eyes_mask, face_mask, head_mask
from vasa_cli.smoothing import smooth
from vasa_cli.video import check_output

CALM_S = 0.8  # standard deviation of the running mean about which a head is steadied
STEADY_LOST_DEG = 12.0  # a head that is turned back by more is told
LEAST_OPENED = 0.05  # eyes that are to be opened by more are drawn from a frame that has them open
GAZE_LOST_DEG = 1.0  # as is a gaze that is missed by more


@dataclass(frozen=True, kw_only=True)
class Edits:
    """What is to be changed; every default of `vasa edit` stands here, and changes nothing."""

    gaze: tuple[float, float] | None = None  # degrees; (0, 0) looks into the camera
    blinks: float | None = None  # a minute; 0 takes all out
    emotion: Emotion = ()  # names and strengths, added to what the face shows
    steady: float = 0.0  # share of the head's quick movements that is taken, 0 to 1
    fill: tuple[tuple[int, int], ...] = ()  # first and last frame of each gap, counted from 0

    def __post_init__(self) -> None:
        """Raises: UsageError when nothing is to be changed, or a gap ends before it begins."""
        if not (self.moves_face or self.steady or self.fill):
            raise UsageError(
                "nothing to edit; give --gaze, --blinks, --emotion, --steady or --fill"
            )
        for first, last in self.fill:
            if not 0 <= first <= last:
                raise UsageError(f"frames {first}-{last} are no gap; give its first and last frame")

    @property
    def moves_eyes(self) -> bool:
        """Whether irises or lids are drawn where they are asked to be."""
        return self.gaze is not None or self.blinks is not None

    @property
    def moves_face(self) -> bool:
        """Whether anything but the head moves in every frame."""
        return self.moves_eyes or bool(self.emotion)


def edit(
    renderer: Renderer,
    film_path: Path,
    output: Path,
    *,
    options: RenderOptions,
    edits: Edits,
    face: int | None = None,
    progress: ProgressCallback | None = None,
) -> RenderResult:
    """Write the film with the edits, its sound kept.

    Args:
        options: marks and quality; size, rate and frame are the film's.
        face: which of several, counted from 1 on the left; the largest when not given.

    Raises: UsageError, InputError, ResourceError as their names say; nothing is left then.
    """
    started_s = time.monotonic()
    check_output(output, force=options.force, inputs=(film_path,))
    tell = progress or (lambda step: None)
    film = open_film(film_path)
    options = replace(options, fps=film.fps)
    performed = extract(
        film,
        renderer.models.reader,
        face=face,
        seconds=options.preview_s,
        strength=0.0,  # what is not edited stays where it was read
        skip=edits.fill,
        tell=lambda done, total: tell(Progress("film", done, total)),
    )
    models = renderer.models
    plan, warnings = plan_edits(performed, edits, models.geometry, models.emotions)
    making = Making(
        output=output,
        source=film_path,
        options=options,
        weights_dir=renderer.weights_dir,
        started_s=started_s,
        device=models.device.type,
    )
    return write_marked(
        lambda marks: draw(renderer, film, performed.track, plan, marks),
        making,
        height=film.size[0],
        width=film.size[1],
        n_frames=len(plan.numbers),
        sound=film_path if film.info.has_audio else None,
        warnings=performed.warnings + warnings,
        tell=tell,
    )


def plan_edits(
    performed: Performance, edits: Edits, geometry: Geometry, emotions: Emotions
) -> tuple[Plan, tuple[str, ...]]:
    """Where the face's points are to be in every frame, and what is worth saying of it.

    Raises: UsageError for a gap that is not in the film, or is all of a shot.
    """
    seen, fps = performed.track, float(performed.film.fps)
    n_frames = len(seen.found)
    targets = seen.points.copy()
    squares: list[Square | None] = [None] * n_frames
    warnings: list[str] = []
    lent: dict[int, int] = {}
    changed = edits.moves_face or edits.steady > 0
    for shot in performed.shots:
        if shot is None:
            continue
        if changed:
            moved, lenders, said = edited_points(
                targets[shot.frames], shot, edits, geometry, emotions, fps=fps
            )
            targets[shot.frames] = moved
            start = shot.frames.start
            lent |= {start + k: start + lender for k, lender in lenders.items()}
            warnings += said
        for k in range(shot.frames.start, shot.frames.stop):
            if changed or _inside(k, edits.fill):
                squares[k] = square_of(shot, k - shot.frames.start)
    missing: dict[int, tuple[Neighbour, ...]] = {}
    for first, last in edits.fill:
        if last >= n_frames:
            raise UsageError(
                f"frames {first}-{last} are not in {performed.film.path.name}, which has"
                f" 0-{n_frames - 1}"
            )
        missing |= fill_gap(performed, first, last, edits.fill, targets)
    mask, parts = (face_mask, LOCAL_PARTS) if edits.emotion else (eyes_mask, ("eyes",))
    if edits.steady:
        mask, parts = _whole_head, LOCAL_PARTS
    share = faded(~seen.found)
    plan = Plan(np.arange(n_frames), share, targets, squares, mask, missing, lent, parts)
    return plan, tuple(dict.fromkeys(warnings))


def edited_points(
    points: np.ndarray,
    shot: Shot,
    edits: Edits,
    geometry: Geometry,
    emotions: Emotions,
    *,
    fps: float,
) -> tuple[np.ndarray, dict[int, int], list[str]]:
    """Points (T, 478, 3) in pixels of a shot's frames with the edits, and what to tell.

    The whole face goes by as much as the model of it does, so that what the model cannot say stays;
    around eyes that are drawn anew it lies where the model says.

    Returns: the points; for frames whose eyes are shut and must not be, by number in the shot, the
        frame with open ones to draw them from; and the warnings.
    """
    warnings: list[str] = []
    pose, dynamics = shot.head_pose, shot.dynamics.copy()
    if edits.steady:
        pose = steadied(pose, edits.steady, fps)
        turned = float(np.abs(pose - shot.head_pose)[:, :3].max())
        if turned > STEADY_LOST_DEG:
            warnings.append(
                f"the head is turned by up to {turned:.0f} degrees to steady it; less (--steady)"
                " looks better"
            )
    openings = lid_openings(dynamics, np.zeros(N_DYNAMICS), geometry)
    if edits.emotion:
        felt = emotions.face(
            np.repeat(strengths_of(edits.emotion)[None], len(dynamics), 0),
            resting_dynamics(shot.code, geometry.dynamics_limit),
        )
        openings = openings * lid_openings(felt, np.zeros(N_DYNAMICS), geometry)
        felt[:, list(KEPT)] = 0.0
        dynamics += felt
    if edits.gaze is not None:
        calm = smooth(shot.dynamics)  # what a reading is off by would be drawn twice as far
        gaze, lost_deg = aimed(calm, pose, edits.gaze, shot.code, geometry)
        openings = openings * follow_gaze(shot.code, geometry, calm, gaze)
        dynamics[:, GAZE] = gaze
        warnings += _gaze_warnings(pose, lost_deg)
    lenders: dict[int, int] = {}
    if edits.blinks is not None:
        blinking = openings
        openings = with_blinks(blinking, fps, a_minute=edits.blinks)
        for first, last in gaps_of((openings - blinking).mean(1) > LEAST_OPENED):
            open_frame = first - 1 if first else min(last + 1, len(points) - 1)
            lenders |= {k: open_frame for k in range(first, last + 1)}
    if edits.moves_face:
        dynamics[:, LIDS] = lids_of(np.maximum(openings, 0), np.zeros(N_DYNAMICS), geometry)
    before = geometry.landmarks(shot.code, head_pose=shot.head_pose, dynamics=shot.dynamics)
    after = geometry.landmarks(shot.code, head_pose=pose, dynamics=dynamics)
    moved = points + (after - before) * shot.window.half
    if edits.moves_eyes:
        eyes = around_eyes(geometry)[:, None]
        moved = moved + (shot.window.from_crop(after) - moved) * eyes
    return moved.astype(np.float32), lenders, warnings


def steadied(head_pose: np.ndarray, strength: float, fps: float) -> np.ndarray:
    """Head poses (T, 6) whose quick movements are smaller, about a running mean."""
    sigma = CALM_S * fps
    reach = max(1, min(round(3 * sigma), len(head_pose) - 1)) if len(head_pose) > 1 else 0
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    calm = np.empty_like(head_pose)
    for k in range(N_HEAD_POSE):
        padded = np.pad(head_pose[:, k], reach, mode="reflect" if reach else "edge")
        calm[:, k] = np.convolve(padded, weights / weights.sum(), mode="valid")
    return head_pose + strength * (calm - head_pose)


def fill_gap(
    performed: Performance,
    first: int,
    last: int,
    gaps: tuple[tuple[int, int], ...],
    targets: np.ndarray,
) -> dict[int, tuple[Neighbour, ...]]:
    """What the frames of a gap are drawn from; where their points are to be is put into `targets`.

    From the nearest whole frames of the same shot, on either side where there is one.

    Raises: UsageError when the shot has no other frame.
    """
    seen, film = performed.track, performed.film
    shot = next(s for s in seen.shots if s.start <= first < s.stop)
    last = min(last, shot.stop - 1)
    whole = [k for k in range(shot.start, shot.stop) if not _inside(k, gaps)]
    before = max((k for k in whole if k < first), default=None)
    after = min((k for k in whole if k > last), default=None)
    if before is None and after is None:
        raise UsageError(
            f"frames {first}-{last} are all of their shot in {film.path.name}; leave some to draw"
            " them from"
        )
    ends = [k for k in (before, after) if k is not None]
    images = dict(zip(ends, film.in_order(ends)))
    faces = {k: seen.points[k] if seen.found[k] else None for k in ends}
    made = {}
    for k in range(first, last + 1):
        if before is None or after is None:
            shares = {ends[0]: 1.0}
        else:
            late = (k - before) / (after - before)
            shares = {before: 1 - late, after: late}
        known = [(targets[end], share) for end, share in shares.items() if faces[end] is not None]
        if known:
            total = sum(share for _, share in known)
            targets[k] = sum(points * (share / total) for points, share in known)
        made[k] = tuple(Neighbour(images[e], faces[e], share) for e, share in shares.items())
    return made


def _gaze_warnings(head_pose: np.ndarray, lost_deg: float) -> list[str]:
    """What a user should know of a gaze that cannot be had in full."""
    said = []
    if lost_deg > GAZE_LOST_DEG:
        said.append(
            f"the eyes fall short of the gaze by up to {lost_deg:.0f} degrees: they cannot turn"
            " further in the head"
        )
    n_left = int((kept_turn(head_pose) < 0.5).sum())
    if n_left:
        said.append(
            f"the head is turned too far aside in {n_left} frames; their eyes stay as filmed"
        )
    return said


def _whole_head(square: Square, *faces: np.ndarray) -> np.ndarray:
    return head_mask(square)


def _inside(frame: int, gaps: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= frame <= last for first, last in gaps)
