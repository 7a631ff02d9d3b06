"""Dubbing in figures: how dubbed lips go with the sound, by vasa's own face encoder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable, Sequence

import numpy as np

from vasa_cli.audio import Audio, frame_count, load_audio
from vasa_cli.config import RenderOptions
from vasa_cli.dub import plan_dubbing, spoken_for, uncovered
from vasa_cli.errors import InputError
from vasa_cli.extraction import Performance, extract, read_motion
from vasa_cli.film import open_film
from vasa_cli.motion import MOUTH_OPEN, Motion
from vasa_cli.motion_figures import correlation
from vasa_cli.pipeline import Renderer
from vasa_cli.refilm import draw
from vasa_cli.track import track

Row = dict[str, float]


def evaluate(
    clips: Sequence[Path],
    renderer: Renderer,
    options: RenderOptions,
    *,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, dict[str, float]]:
    """Figures by clip, and their mean: every clip is dubbed with its own sound and the next one's.

    Correlations over time of how far the lips are open. own: of the clip dubbed with its own sound
    and the clip as filmed; sampled: of what the sampler wants and the clip as filmed, which own can
    hardly exceed; drawn: of the dubbed clip and what the sampler wants; foreign and foreign_filmed:
    of the clip dubbed with another's sound, and what the sampler wants or what was filmed.
    cpu_ms_a_frame: processor time of reading and drawing, of all threads.

    Raises: InputError when no clip has a sound and one steady shot of a face.
    """
    rows: dict[str, Row] = {}
    heard = [clip for clip in clips if _is_heard(clip, options.preview_s)]
    for k, clip in enumerate(heard):
        other = heard[(k + 1) % len(heard)]
        row = measure(renderer, clip, other, options)
        if row is None:
            tell(f"left out {clip.name}: it is cut, or its face is not seen throughout")
            continue
        rows[clip.name] = row
        tell(f"{clip.name}: " + ", ".join(f"{name} {value:.2f}" for name, value in row.items()))
    if not rows:
        raise InputError(f"none of {len(clips)} clips has a sound and one shot of a face")
    names = next(iter(rows.values()))
    mean = {name: float(np.nanmean([row[name] for row in rows.values()])) for name in names}
    return {"mean": mean, **rows}


def measure(renderer: Renderer, clip: Path, other: Path, options: RenderOptions) -> Row | None:
    """The figures of one clip; None where it is no single shot that shows the face throughout."""
    started_s = time.process_time()
    seconds = options.preview_s
    film = open_film(clip)
    performed = extract(film, renderer.models.reader, seconds=seconds)
    reading_s = time.process_time() - started_s
    if len(performed.shots) != 1 or not performed.track.found.all():
        return None
    shot = performed.shots[0]
    assert shot is not None
    filmed = shot.dynamics[:, MOUTH_OPEN]
    row, drawing_s, n_drawn = {}, 0.0, 0
    for name, sound in (("own", clip), ("foreign", other)):
        wanted = spoken(renderer, load_audio(sound, max_seconds=seconds), performed, options)
        asked = wanted.dynamics[:, MOUTH_OPEN]
        started_s = time.process_time()
        plan = plan_dubbing(
            performed, uncovered(performed), wanted, "trim", renderer.models.geometry
        )
        frames = list(draw(renderer, film, performed.track, plan))
        drawing_s += time.process_time() - started_s
        n_drawn += len(frames)
        points = track(frames, renderer.models.reader).points.astype(np.float64)
        seen = read_motion(shot.window.to_crop(points), shot.code, renderer.models.geometry)[1]
        opened = seen[:, MOUTH_OPEN]
        if name == "own":
            row["own"] = correlation(opened, filmed[: len(opened)])
            row["sampled"] = correlation(asked, filmed[: len(opened)])
            row["drawn"] = correlation(opened, asked)
        else:
            row["foreign"] = correlation(opened, asked)
            row["foreign_filmed"] = correlation(opened, filmed[: len(opened)])
    row["cpu_ms_a_frame"] = 1000 * (reading_s / len(filmed) + drawing_s / n_drawn)
    return row


def spoken(
    renderer: Renderer, audio: Audio, performed: Performance, options: RenderOptions
) -> Motion:
    """What the sampler wants of a sound, as long as the shorter of film and sound."""
    film = performed.film
    n_spoken = frame_count(len(audio.samples), audio.sample_rate, film.fps)
    n_frames = min(len(performed.track.found), n_spoken)
    return spoken_for(renderer.sample_motion(audio, options), n_spoken, n_frames, film.fps)


def _is_heard(clip: Path, seconds: float | None) -> bool:
    """Whether a clip has a sound that is not digital silence."""
    if not open_film(clip).info.has_audio:
        return False
    return bool(load_audio(clip, max_seconds=seconds).samples.any())
