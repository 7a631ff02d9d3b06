"""A motion as a picture: mouth, head, gaze and eyes over time, under the waveform of its sound."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vasa_cli.audio import Audio
from vasa_cli.errors import ResourceError
from vasa_cli.models.audio_encoder import (
    CLASSES,
    CLOSES_LIPS,
    LIP_TO_TEETH,
    ROUNDS_LIPS,
    SPREADS_LIPS,
)
from vasa_cli.motion_figures import HALF_OPEN, Face, blinks, turn_per_frame

PIXELS_A_SECOND = 120
WIDTH_RANGE = (900, 12_000)  # pixels of the plotted time
LEFT, RIGHT, TOP, BOTTOM, GAP = 64, 16, 30, 26, 14  # pixels around and between the panels
WAVE_HEIGHT, PHONES_HEIGHT, HEADER, PANEL_HEIGHT = 90, 16, 20, 112
OVERSAMPLED = 2  # drawn so much larger and shrunk, for smooth lines
LABEL_SIZE, TICK_SIZE = 13, 11
INK, FAINT, PAPER = (40, 40, 40), (222, 222, 222), (255, 255, 255)
# Told apart by colour-blind readers too. Source: Okabe and Ito 2008.
BLUE, ORANGE, GREEN = (0, 114, 178), (213, 94, 0), (0, 158, 115)
SHADE = (240, 228, 180)  # of blinks

Colour = tuple[int, int, int]
# What the lips are asked to do, by name: the colour under the waveform, and the classes of the ear.
SHAPES: dict[str, tuple[Colour, tuple[str, ...]]] = {
    "p b m": ((200, 0, 60), CLOSES_LIPS),
    "f v": ((230, 159, 0), LIP_TO_TEETH),
    "rounded": ((0, 114, 178), ROUNDS_LIPS),
    "spread": ((0, 158, 115), SPREADS_LIPS),
    "open": ((204, 121, 167), ("open", "open_front")),
}


@dataclass(frozen=True)
class Line:
    """One curve of a panel."""

    name: str
    values: np.ndarray  # (T,)
    colour: Colour


@dataclass(frozen=True)
class Span:
    """Something that lasts, in seconds, and the name of its colour in SHAPES."""

    start_s: float
    stop_s: float
    shape: str


def draw_plot(
    face: Face,
    *,
    title: str,
    audio: Audio | None = None,
    heard: Sequence[Span] = (),
    start_s: float = 0.0,
) -> Image.Image:
    """The picture of a performance, RGB.

    Args:
        audio: the sound from the first frame on; None leaves the waveform out.
        heard: what the lips should do when, drawn under the waveform.
        start_s: the time of the first frame, for the scale below.
    """
    duration_s = len(face.opening) / float(face.fps)
    n_wide = int(np.clip(PIXELS_A_SECOND * duration_s, *WIDTH_RANGE))
    panels = _panels(face)
    height = TOP + BOTTOM + len(panels) * (HEADER + PANEL_HEIGHT + GAP)
    if audio is not None:
        height += WAVE_HEIGHT + GAP + (PHONES_HEIGHT if heard else 0)
    canvas = _Canvas(n_wide, height, duration_s, start_s)
    canvas.text(LEFT, 6, title, INK, LABEL_SIZE + 2)
    top = TOP
    if audio is not None:
        canvas.wave(audio, top)
        top += WAVE_HEIGHT
        if heard:
            canvas.spans(heard, top)
            top += PHONES_HEIGHT
        top += GAP
    shut = blinks(face.eyes, face.fps)
    for name, note, lines in panels:
        shades = [(t - d / 2, t + d / 2) for t, d in shut] if name == "eyes" else []
        canvas.panel(top, name, note, lines, float(face.fps), shades)
        top += HEADER + PANEL_HEIGHT + GAP
    canvas.time_scale(top - GAP)
    return canvas.finished()


def heard_spans(phones: np.ndarray, *, feature_fps: int) -> list[Span]:
    """What the ear's posteriors (T, N_CLASSES) ask of the lips, run by run."""
    shape_of = {name: shape for shape, (_, names) in SHAPES.items() for name in names}
    said = [shape_of.get(CLASSES[k], "") for k in phones.argmax(1)]
    edges = [0, *(k for k in range(1, len(said)) if said[k] != said[k - 1]), len(said)]
    return [
        Span(a / feature_fps, b / feature_fps, said[a])
        for a, b in zip(edges[:-1], edges[1:])
        if a < b and said[a]
    ]


def save_plot(path: Path, picture: Image.Image) -> None:
    """Write a PNG; it bears its name only when it is whole.

    Raises: ResourceError when it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        picture.save(temporary, format="PNG")
        os.replace(temporary, path)
    except OSError as error:
        raise ResourceError(f"plot {path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _panels(face: Face) -> list[tuple[str, str, list[Line]]]:
    """Name, a figure in words, and the curves of each panel."""
    minutes = len(face.eyes) / float(face.fps) / 60
    shut = blinks(face.eyes, face.fps)
    often = f"blinks: {len(shut)}, {len(shut) / minutes:.0f} a minute"
    if shut:
        often += f", {np.median([d for _, d in shut]):.2f} s each; below {HALF_OPEN:g} shaded"
    closed = 100 * np.mean(face.opening < 0.15 * max(float(face.opening.max()), 1e-9))
    turn = turn_per_frame(face.angles) if len(face.angles) > 1 else 0.0
    return [
        (
            "mouth",
            f"face heights; under 15 % of its widest opening in {closed:.0f} % of the time",
            [
                Line("opening", face.opening, BLUE),
                Line("width", face.width, ORANGE),
            ],
        ),
        (
            "head",
            f"degrees; turns {turn:.2f} degrees a frame",
            [
                Line(name, face.angles[:, k], colour)
                for k, (name, colour) in enumerate(
                    (("yaw", BLUE), ("pitch", ORANGE), ("roll", GREEN))
                )
            ],
        ),
        (
            "gaze",
            "degrees in the head",
            [Line("yaw", face.gaze[:, 0], BLUE), Line("pitch", face.gaze[:, 1], ORANGE)],
        ),
        ("eyes", often, [Line("opening, 1 at rest", face.eyes, BLUE)]),
        ("brows", "face heights", [Line("height", face.brows, BLUE)]),
    ]


class _Canvas:
    """Draws in pixels of the finished picture, larger by OVERSAMPLED."""

    def __init__(self, n_wide: int, height: int, duration_s: float, start_s: float) -> None:
        self.n_wide, self.height = n_wide, height
        self.duration_s, self.start_s = duration_s, start_s
        size = (OVERSAMPLED * (LEFT + n_wide + RIGHT), OVERSAMPLED * height)
        self.image = Image.new("RGB", size, PAPER)
        self.pen = ImageDraw.Draw(self.image)

    def finished(self) -> Image.Image:
        return self.image.resize(
            (LEFT + self.n_wide + RIGHT, self.height), Image.Resampling.LANCZOS
        )

    def x(self, time_s: float) -> float:
        return LEFT + self.n_wide * time_s / self.duration_s

    def text(
        self, x: float, y: float, text: str, colour: Colour, size: int, anchor: str = "la"
    ) -> None:
        font = ImageFont.load_default(OVERSAMPLED * size)
        self.pen.text((OVERSAMPLED * x, OVERSAMPLED * y), text, colour, font=font, anchor=anchor)

    def width_of(self, text: str, size: int) -> float:
        return float(ImageFont.load_default(OVERSAMPLED * size).getlength(text)) / OVERSAMPLED

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
        s = OVERSAMPLED
        self.pen.rectangle((s * x0, s * y0, max(s * x1 - 1, s * x0), s * y1 - 1), fill)

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, width: float) -> None:
        scaled = [(OVERSAMPLED * x, OVERSAMPLED * y) for x, y in points]
        self.pen.line(scaled, colour, round(OVERSAMPLED * width), joint="curve")

    def wave(self, audio: Audio, top: int) -> None:
        """The lowest and highest sample of every column of pixels."""
        n_shown = round(self.duration_s * audio.sample_rate)
        samples = audio.as_float(0, n_shown)
        edges = np.linspace(0, n_shown, self.n_wide + 1).astype(int)
        middle, half = top + WAVE_HEIGHT / 2, WAVE_HEIGHT / 2
        loudest = max(float(np.abs(samples).max(initial=0)), 1e-3)
        for column, (a, b) in enumerate(zip(edges[:-1], np.maximum(edges[1:], edges[:-1] + 1))):
            part = samples[a:b]
            if len(part):
                low, high = (half * float(v) / loudest for v in (part.min(), part.max()))
                self.box(LEFT + column, middle - high, LEFT + column + 1, middle - low + 1, INK)

    def spans(self, spans: Sequence[Span], top: int) -> None:
        for span in spans:
            first, last = (self.x(min(t, self.duration_s)) for t in (span.start_s, span.stop_s))
            self.box(
                first, top + 2, max(last, first + 1), top + PHONES_HEIGHT, SHAPES[span.shape][0]
            )
        legend = [("the sound asks for:", INK), *((name, c) for name, (c, _) in SHAPES.items())]
        x = LEFT + self.n_wide + 12.0
        for name, colour in reversed(legend):
            x -= self.width_of(name, TICK_SIZE) + 12
            self.text(x, 9, name, colour, TICK_SIZE)

    def panel(
        self,
        top: int,
        name: str,
        note: str,
        lines: list[Line],
        fps: float,
        shades: list[tuple[float, float]],
    ) -> None:
        """The curves' names and, below them, axes, shaded times and curves."""
        x = float(LEFT)
        for text, colour in (
            (name, INK),
            *((line.name, line.colour) for line in lines),
            (note, INK),
        ):
            self.text(x, top, text, colour, LABEL_SIZE)
            x += self.width_of(text, LABEL_SIZE) + 14
        top += HEADER
        floor = top + PANEL_HEIGHT
        low = min(float(line.values.min()) for line in lines)
        high = max(float(line.values.max()) for line in lines)
        margin = max(0.08 * (high - low), 1e-3)
        low, high = low - margin, high + margin

        def y(value: float) -> float:
            return floor - PANEL_HEIGHT * (value - low) / (high - low)

        for start_s, stop_s in shades:
            self.box(
                self.x(max(start_s, 0)), top, self.x(min(stop_s, self.duration_s)), floor, SHADE
            )
        for tick in ticks(low, high, 4):
            self.line([(LEFT, y(tick)), (LEFT + self.n_wide, y(tick))], FAINT, 1)
            self.text(LEFT - 6, y(tick), f"{tick:g}", INK, TICK_SIZE, anchor="rm")
        for line in lines:
            times = (np.arange(len(line.values)) + 0.5) / fps
            points = [(self.x(t), y(v)) for t, v in zip(times.tolist(), line.values.tolist())]
            self.line(points if len(points) > 1 else points * 2, line.colour, 1.5)

    def time_scale(self, top: int) -> None:
        """Seconds under the panels."""
        n_ticks = max(4, self.n_wide // 100)
        for tick in ticks(self.start_s, self.start_s + self.duration_s, n_ticks):
            x = self.x(tick - self.start_s)
            self.line([(x, top), (x, top + 4)], INK, 1)
            self.text(x, top + 6, f"{tick:g} s", INK, TICK_SIZE, anchor="ma")


def ticks(low: float, high: float, n_wanted: int) -> list[float]:
    """About so many round numbers between two: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / n_wanted
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * 0.999)
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [round(k * step, 10) + 0.0 for k in range(first, last + 1)]
