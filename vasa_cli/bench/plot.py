"""Frames a second over picture sizes and over lengths of sound, as a picture."""

from __future__ import annotations

from typing import Sequence

from PIL import Image, ImageDraw, ImageFont

from vasa_cli.bench.report import Row

WIDTH, HEIGHT = 900, 380  # pixels
OVERSAMPLED = 2  # drawn so much larger, for smooth lines
LEFT, TOP, PANEL_WIDTH, PANEL_HEIGHT, GAP = 60, 50, 350, 260, 80
COLOURS = ((31, 119, 180), (214, 106, 20), (44, 130, 60), (150, 60, 150))
INK, GRID = (40, 40, 40), (215, 215, 215)
FONT_SIZE = 14
REAL_TIME_FPS = 25

Curve = tuple[str, list[tuple[float, float]]]


def draw(rows: Sequence[Row]) -> Image.Image:
    """Two panels: whole commands over sizes at the least length, over lengths at each size."""
    canvas = _Canvas()
    least_s = min(row.case.seconds for row in rows)
    sizes = sorted({row.case.size for row in rows})
    cores = sorted({row.case.cores for row in rows})
    by_size: list[Curve] = [
        (
            f"{n} core" + "s" * (n > 1),
            [
                (row.case.size, row.median("fps") or 0)
                for row in rows
                if row.case.cores == n and row.case.seconds == least_s
            ],
        )
        for n in cores
    ]
    by_length: list[Curve] = [
        (
            f"{size} pixels",
            [
                (row.case.seconds, row.median("fps") or 0)
                for row in rows
                if row.case.size == size and row.case.cores == max(cores)
            ],
        )
        for size in sizes
    ]
    top = 1.1 * max(REAL_TIME_FPS, *(row.median("fps") or 0 for row in rows))
    canvas.panel(0, f"fps of {least_s:g} s of sound, over pixels", by_size, top)
    canvas.panel(1, f"fps on {max(cores)} cores, over seconds of sound", by_length, top)
    return canvas.image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


class _Canvas:
    """Draws in pixels of the finished picture, larger by OVERSAMPLED."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (OVERSAMPLED * WIDTH, OVERSAMPLED * HEIGHT), "white")
        self.pen = ImageDraw.Draw(self.image)
        self.font = ImageFont.load_default(OVERSAMPLED * FONT_SIZE)

    def text(
        self, at: tuple[float, float], text: str, colour: tuple[int, int, int], anchor: str
    ) -> None:
        place = (OVERSAMPLED * at[0], OVERSAMPLED * at[1])
        self.pen.text(place, text, colour, font=self.font, anchor=anchor)

    def line(
        self, points: Sequence[tuple[float, float]], colour: tuple[int, int, int], width: int
    ) -> None:
        scaled = [(OVERSAMPLED * x, OVERSAMPLED * y) for x, y in points]
        self.pen.line(scaled, colour, OVERSAMPLED * width, joint="curve")

    def panel(self, number: int, title: str, curves: list[Curve], highest: float) -> None:
        """Axes from 0, one line a curve with a dot for each measurement."""
        left = LEFT + number * (PANEL_WIDTH + GAP)
        floor = TOP + PANEL_HEIGHT
        places = sorted({x for _, points in curves for x, _ in points})
        step = PANEL_WIDTH / (len(places) + 1)

        def at(x: float, y: float) -> tuple[float, float]:
            return left + step * (places.index(x) + 1), floor - PANEL_HEIGHT * y / highest

        self.text((left, TOP - 32), title, INK, "la")
        for k in range(5):
            level = highest * k / 4
            y = floor - PANEL_HEIGHT * k / 4
            self.line([(left, y), (left + PANEL_WIDTH, y)], GRID, 1)
            self.text((left - 8, y), f"{level:.0f}", INK, "rm")
        for x in places:
            self.text((at(x, 0)[0], floor + 8), f"{x:g}", INK, "ma")
        for k, (name, points) in enumerate(curves):
            colour = COLOURS[k % len(COLOURS)]
            drawn = [at(*point) for point in sorted(points)]
            self.line(drawn, colour, 2)
            for x, y in drawn:
                box = [OVERSAMPLED * v for v in (x - 4, y - 4, x + 4, y + 4)]
                self.pen.ellipse(box, colour)
            self.text((left + 110 * k, floor + 34), name, colour, "la")
