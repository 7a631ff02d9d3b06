"""How exactly the controls do what they say, measured on rendered video.

Every setting is shown with the same portrait and motion (`control_trials`), and what counts is the
change against the setting that asks for nothing, over the same frames of the motion.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, Protocol, Sequence

import numpy as np
import torch
from torch import Tensor

from vasa_cli.blinks import find_blinks
from vasa_cli.control_trials import (
    DISTANCES,
    SCALES,
    STEP_S,
    STRENGTHS,
    Stage,
    Trial,
    cut,
    settings,
    starts,
)
from vasa_cli.errors import InputError
from vasa_cli.evaluate import identity_faces
from vasa_cli.face import FaceReader
from vasa_cli.image import load_image
from vasa_cli.shown import QUANTITIES, Instrument
from vasa_cli.squares import cut_square, to_tensor
from vasa_cli.video import read_video

# The signs that define an emotion, and the way they go.
SIGNS: Mapping[str, Mapping[str, int]] = {
    "happy": {"corner_lift": 1, "mouth_width": 1},
    "sad": {"corner_lift": -1, "eye_open": -1},
    "angry": {"brow_height": -1, "corner_lift": -1},
    "surprised": {"brow_height": 1, "eye_open": 1},
    "fearful": {"brow_height": 1, "eye_open": 1},
    "disgusted": {"corner_lift": -1, "eye_open": -1},
    "contemptuous": {"corner_skew": 1},
}
# From one frame to the next a face mesh adds some 0.13 degrees of its own to whatever moves, which
# over a fifth of a second is little beside the head's turn.
TURN_FRAMES = 5
PHOTO = "photo"  # the picture itself, among the trials
ANGLES = ("yaw", "pitch", "roll")
JUDGED_FROM, JUDGED_EVERY = 5, 9  # frames of a take whose identity is judged


class Judge(Protocol):
    """Says whose faces pictures (B, 3, 112, 96) show."""

    def embedding(self, faces: Tensor) -> Tensor: ...


def evaluate(
    portraits: Sequence[Path],
    stage: Stage,
    instrument: Instrument,
    *,
    judge: Judge | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Figures over all portraits, see `summarise`.

    Portraits that cannot be rendered or measured are left out and told.

    Raises: InputError when none is left.
    """
    rows: list[dict[str, Trial]] = []
    for portrait in portraits:
        try:
            rows.append(run_trials(portrait, stage, instrument, judge))
            tell(f"{portrait.name}: {len(stage.takes)} settings")
        except InputError as error:
            tell(f"{portrait.name} is left out: {error}")
    if not rows:
        raise InputError("no portrait could be measured; give front-facing portraits")
    return summarise(rows, stage.level, float(stage.options.fps))


def run_trials(
    portrait: Path, stage: Stage, instrument: Instrument, judge: Judge | None
) -> dict[str, Trial]:
    """Every setting of one portrait, filmed and measured."""
    with tempfile.TemporaryDirectory(prefix="vasa-") as folder:
        video = Path(folder) / "trials.mp4"
        takes = stage.film(portrait, video)
        trials = cut(instrument(video), takes)
        if judge is None:
            return trials
        reader, first = stage.renderer.models.reader, starts(takes)
        judged = ("none", *(f"{emotion} {STRENGTHS[-1]:g}" for emotion in SIGNS))
        wanted = {
            first[name] + k: name
            for name in judged
            for k in range(JUDGED_FROM, len(takes[name].frames), JUDGED_EVERY)
        }
        seen: dict[str, list[np.ndarray]] = {name: [] for name in judged}
        for k, frame in enumerate(read_video(video)):
            if k in wanted:
                seen[wanted[k]].append(frame)
    for name, frames in seen.items():
        trials[name] = replace(trials[name], identity=identity_of(frames, reader, judge, name=name))
    picture = load_image(portrait)
    trials[PHOTO] = Trial({}, identity=identity_of([picture], reader, judge, name=portrait.name))
    return trials


@torch.inference_mode()
def identity_of(
    frames: Iterable[np.ndarray], reader: FaceReader, judge: Judge, *, name: str
) -> np.ndarray:
    """The mean identity of the faces in frames (H, W, 3), of length 1.

    Raises: InputError when no frame shows a face.
    """
    found = []
    for frame in frames:
        faces = reader.detect(frame)
        if faces:
            points = reader.read_points(frame, faces[0])
            window = reader.window(points)
            square = to_tensor(cut_square(frame, window, 256)[None], reader.device)
            marks = torch.from_numpy(window.to_crop(points)).float()[None].to(reader.device)
            found.append(judge.embedding(identity_faces(square, marks))[0].cpu().numpy())
    if not found:
        raise InputError(f"no face in {name} to tell whose it is")
    mean = np.mean(found, 0)
    return np.asarray(mean / np.linalg.norm(mean))


def summarise(rows: list[dict[str, Trial]], level: np.ndarray, fps: float) -> dict[str, Any]:
    """All figures; each a mean over portraits where its name says nothing else."""

    def over(figure: Callable[[dict[str, Trial]], float]) -> float:
        return float(np.mean([figure(row) for row in rows]))

    gazes = [n for n in settings() if n.startswith("gaze ") and n != "gaze 0,0"]
    poses = [n for n in settings() if n.startswith("pose ") and n != "pose 0,0,0"]
    gaze = {n: [gaze_change(row, n) for row in rows] for n in gazes}
    pose = {n: [pose_change(row, n) for row in rows] for n in poses}
    figures: dict[str, Any] = {"portraits": len(rows)}
    figures["gaze"] = changes(gaze) | {"mean_error_deg": mean_error(gaze)}
    figures["pose"] = changes(pose) | {"mean_error_deg": mean_error(pose)}
    figures["distance"] = {
        f"{r:g} error": over(lambda row: abs(ratio(row, f"distance {r:g}", "face_height") * r - 1))
        for r in DISTANCES
    }
    figures["emotion"] = {name: emotion_figures(name, rows, level) for name in SIGNS}
    figures["head_motion"] = {
        f"{s:g}": over(lambda row: turn(row[f"head_motion {s:g}"]) / turn(row["head_motion 1"]))
        for s in SCALES
    }
    figures["blinks"] = {
        f"{s:g}": over(lambda row: len(blinks(row[f"blink {s:g}"], fps))) for s in (*SCALES, 1)
    }
    figures["expression"] = {
        f"{s:g}": over(
            lambda row: float(np.nanstd(row[f"expression {s:g}"].series["mouth_open"]))
            / float(np.nanstd(row["none"].series["mouth_open"]))
        )
        for s in SCALES
    }
    figures["step_frames_late"] = float(np.max([step_lateness(row["step"], fps) for row in rows]))
    figures["cross_talk"] = cross_talk(rows)
    return figures


def looks(trial: Trial) -> np.ndarray:
    """Mean gaze in the camera's frame, yaw and pitch (2,): that in the head and the head's."""
    return np.array([trial.mean(f"gaze_{a}") + trial.mean(a) for a in ANGLES[:2]])


def angles(trial: Trial) -> np.ndarray:
    """Mean head pose (3,)."""
    return np.array([trial.mean(a) for a in ANGLES])


def gaze_change(row: dict[str, Trial], name: str) -> tuple[float, float]:
    """Degrees asked and seen along the axis that a setting moves, against gaze 0,0."""
    aim = np.array([float(v) for v in name.split()[1].split(",")])
    k = int(np.abs(aim).argmax())
    return float(aim[k]), float((looks(row[name]) - looks(row["gaze 0,0"]))[k])


def pose_change(row: dict[str, Trial], name: str) -> tuple[float, float]:
    """Degrees asked and seen along the axis that a setting turns, against pose 0,0,0."""
    held = np.array([float(v) for v in name.split()[1].split(",")])
    k = int(np.abs(held).argmax())
    return float(held[k]), float((angles(row[name]) - angles(row["pose 0,0,0"]))[k])


def changes(seen: Mapping[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Mean degrees seen for each setting, and the slope of what is seen over what is asked."""
    means = {name: float(np.mean([s for _, s in pairs])) for name, pairs in seen.items()}
    every = np.array([pair for pairs in seen.values() for pair in pairs])
    return {
        "seen_deg": means,
        "slope": float(every[:, 0] @ every[:, 1] / np.square(every[:, 0]).sum()),
    }


def mean_error(seen: Mapping[str, list[tuple[float, float]]]) -> float:
    """Mean distance between what is seen and what is asked."""
    return float(np.mean([abs(s - a) for pairs in seen.values() for a, s in pairs]))


def ratio(row: dict[str, Trial], name: str, quantity: str) -> float:
    """Of a quantity's mean to that without any control."""
    return row[name].mean(quantity) / row["none"].mean(quantity)


def turn(trial: Trial) -> float:
    """Mean turn of the head in degrees a frame, over TURN_FRAMES."""
    poses = np.stack([trial.series[a] for a in ANGLES], 1)
    return float(np.nanmean(np.abs(poses[TURN_FRAMES:] - poses[:-TURN_FRAMES]))) / TURN_FRAMES


def blinks(trial: Trial, fps: float) -> list[Any]:
    """The blinks that are seen."""
    opening = trial.series["eye_open"]
    return find_blinks(np.nan_to_num(opening, nan=float(np.nanmedian(opening))), fps=fps)


def step_lateness(trial: Trial, fps: float) -> float:
    """Frames from the timeline's step until half of it is seen."""
    gaze = trial.series["gaze_yaw"] + trial.series["yaw"]
    first = round(STEP_S * fps)
    before, after = np.nanmean(gaze[:first]), np.nanmean(gaze[first + 3 :])
    there = (gaze - before) * np.sign(after - before) > abs(after - before) / 2
    there[:first] = False
    return float(np.argmax(there) - first) if there.any() else float(len(gaze))


def emotion_figures(name: str, rows: list[dict[str, Trial]], level: np.ndarray) -> dict[str, Any]:
    """Faces on which each sign grows with the strength; lips and identity at full strength."""
    found: dict[str, Any] = {}
    steps = [f"{name} {s:g}" for s in STRENGTHS]
    for sign, way in SIGNS[name].items():
        seen = np.array([[row[n].mean(sign) for n in ("none", *steps)] for row in rows])
        grows = (np.diff(seen, axis=1) * way > 0).all(1)
        found[sign] = {
            "faces": int(grows.sum()),
            "change": float((seen[:, -1] - seen[:, 0]).mean()),
        }
    full = [row[steps[-1]] for row in rows]
    lips = [
        lip_correlation(t, level) - lip_correlation(r["none"], level) for t, r in zip(full, rows)
    ]
    found["lip_correlation_change"] = float(np.nanmean(lips))
    falls = []
    for trial, row in zip(full, rows):
        shown = [t.identity for t in (row.get(PHOTO), row["none"], trial) if t is not None]
        photo, plain, felt = shown if len(shown) == 3 else (None, None, None)
        if photo is not None and plain is not None and felt is not None:
            falls.append(float(photo @ (plain - felt)))
    if falls:
        found["identity_falls"] = float(np.mean(falls))
    return found


def lip_correlation(trial: Trial, level: np.ndarray) -> float:
    """Of the mouth's opening with the sound's level."""
    mouth = trial.series["mouth_open"]
    n = min(len(mouth), len(level))
    seen = np.isfinite(mouth[:n])
    if seen.sum() < 5 or mouth[:n][seen].std() < 1e-6 or level[:n][seen].std() < 1e-6:
        return float("nan")
    return float(np.corrcoef(mouth[:n][seen], level[:n][seen])[0, 1])


def cross_talk(rows: list[dict[str, Trial]]) -> dict[str, dict[str, float]]:
    """Mean change of every quantity under one setting of each control, against none."""
    chosen = (
        *("gaze 20,0", "gaze 0,12", "gaze_wander 0", "distance 0.8", "happy 1", "pose 20,0,0"),
        *("pose_offset 8,0,0", "head_motion 2", "expression 0.5", "blink 0", "still"),
    )
    base = {"gaze 20,0": "gaze 0,0", "gaze 0,12": "gaze 0,0", "pose 20,0,0": "pose 0,0,0"}
    base |= {"head_motion 2": "head_motion 1", "blink 0": "blink 1"}
    return {
        name: {
            q: float(np.mean([r[name].mean(q) - r[base.get(name, "none")].mean(q) for r in rows]))
            for q in QUANTITIES
        }
        for name in chosen
    }
