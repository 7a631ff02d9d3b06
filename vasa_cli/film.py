"""Films in: any video as upright frames of standard colour at one constant rate.

Phones write variable rates, turned pictures and HDR; cameras write 4K; copies have holes. What was
done about it is said in words, once, before the first frame is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np

from vasa_cli.audio import FFmpeg, input_arguments
from vasa_cli.config import FPS_RANGE
from vasa_cli.errors import InputError
from vasa_cli.video import VideoInfo, ppm_arguments, probe, read_ppm

COMMON_RATES = tuple(
    Fraction(text)
    for text in "10 12 12.5 15 24000/1001 24 25 30000/1001 30 48 50 60000/1001 60 120".split()
)
RATE_TOLERANCE = 0.004  # a stated rate this close to a common one is that one
STEADY = 0.3  # share of a frame by which frames of a constant rate may come early or late
# HDR's reference white (203 cd/m2, ITU-R BT.2408) becomes white; what is brighter is rolled off.
# Chroma comes to full size first: zscale takes no odd height or width that is subsampled.
TONE_MAP = (
    "format=yuv444p16le,zscale=transfer=linear:npl=203,format=gbrpf32le,zscale=primaries=bt709,"
    "tonemap=mobius:param=0.6:desat=0,zscale=transfer=bt709:matrix=bt709:range=tv,format=yuv444p"
)
SEEK_AHEAD_S = 1.0  # seconds before the frame that is wanted from which reading begins
BLOCK = 32  # frames that are kept at once when a film is read backwards
HDR_TRANSFERS = ("smpte2084", "arib-std-b67")


@dataclass(frozen=True)
class Film:
    """A video that was looked at; `frames` reads it."""

    path: Path
    info: VideoInfo
    fps: Fraction  # of the frames that `frames` gives
    is_hdr: bool
    warnings: tuple[str, ...] = field(default=())

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright picture."""
        return self.info.height, self.info.width

    @property
    def n_expected(self) -> int:
        """About how many frames there are; 0 where the file does not say."""
        return round(self.info.duration_s * self.fps)

    def frames(
        self,
        *,
        first: int = 0,
        n_frames: int | None = None,
        longest_side: int | None = None,
        quickly: bool = False,
    ) -> FilmFrames:
        """Frames from the first on, each shrunk to a longest side where that is smaller.

        Args: quickly takes less time; colours are a level or two off.
        """
        return FilmFrames(self, first, n_frames, longest_side, quickly)

    def in_order(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """The frames of any numbers in any order; a run backwards is read block by block.

        A number beyond the last frame gives the last one again.
        """
        start = 0
        while start < len(numbers):
            stop, step = start + 1, 0
            while stop < len(numbers):
                now = int(np.sign(numbers[stop] - numbers[stop - 1]))
                if now and step and now != step:
                    break
                step, stop = now or step, stop + 1
            run = numbers[start:stop]
            yield from self._backwards(run) if step < 0 else self._forwards(run)
            start = stop

    def _forwards(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        frames = enumerate(self.frames(first=numbers[0]), numbers[0])
        at, image = next(frames)
        for number in numbers:
            while at < number:
                at, image = next(frames, (number, image))
            yield image

    def _backwards(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        block: list[np.ndarray] = []
        low = numbers[0] + 1
        for number in numbers:
            if number < low:
                low = max(numbers[-1], number - BLOCK + 1)
                block = list(self.frames(first=low, n_frames=number - low + 1))
            yield block[min(number - low, len(block) - 1)]


class FilmFrames:
    """Frames (H, W, 3) uint8 RGB of a film, one at a time; knows afterwards what was damaged."""

    def __init__(
        self,
        film: Film,
        first: int,
        n_frames: int | None,
        longest_side: int | None,
        quickly: bool,
    ) -> None:
        self.film = film
        self.n_frames = 0
        self.complaint = ""  # what ffmpeg said first of frames it could not read whole
        self._arguments = _reading_arguments(film, first, n_frames, longest_side, quickly)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Raises: InputError when no frame can be read."""
        with FFmpeg(self._arguments) as ffmpeg:
            while (frame := read_ppm(ffmpeg.stdout)) is not None:
                self.n_frames += 1
                yield frame
            ffmpeg.wait()
            self.complaint = ffmpeg.reason
        if self.n_frames == 0:
            raise InputError(
                f"{self.film.path} is not a video that ffmpeg can read"
                f" ({self.complaint or 'no frame in it'}); give an MP4, MOV or WebM"
            )


def open_film(path: Path) -> Film:
    """Look at a video: its size, rate, colour and sound, and what will be done about them.

    Raises: InputError when it cannot be opened or holds no video.
    """
    info = probe(path)
    times = packet_times(path)
    fps, steady = frame_rate(info, times)
    is_hdr = any(name in info.pixel_format for name in HDR_TRANSFERS)
    warnings: tuple[str, ...] = ()
    if len(times) > 1 and fps < 0.9 * (len(times) - 1) / (times[-1] - times[0]):
        warnings += (f"{path.name} has more frames a second than {fps}; so many are taken",)
    elif not steady:
        warnings += (
            f"{path.name} has a variable frame rate; its frames are taken at"
            f" {float(fps):g} a second",
        )
    if is_hdr:
        warnings += (f"{path.name} is HDR; its colours are tone-mapped to BT.709",)
    return Film(path, info, fps, is_hdr, warnings)


def packet_times(path: Path) -> np.ndarray:
    """When each coded frame is shown, in seconds, rising, (N,); nothing is decoded for it."""
    arguments = ["-v", "error", *input_arguments(path), "-map", "0:v:0", "-c", "copy"]
    with FFmpeg([*arguments, "-f", "framecrc", "pipe:1"]) as ffmpeg:
        report = ffmpeg.stdout.read().decode("utf-8", errors="replace")
    base = re.search(r"^#tb 0: (\d+)/(\d+)", report, re.MULTILINE)
    if base is None:
        return np.zeros(0)
    stamps = re.findall(r"^0, +-?\d+, +(-?\d+),", report, re.MULTILINE)
    return np.sort(np.array(stamps, np.int64)) * (int(base[1]) / int(base[2]))


def frame_rate(info: VideoInfo, times: np.ndarray) -> tuple[Fraction, bool]:
    """The rate to read frames at, and whether that is the film's own throughout.

    Args: times (N,) seconds, rising, of the coded frames.
    """
    gaps = np.diff(times)
    gaps = gaps[gaps > 0]
    if not len(gaps):
        return _within(info.fps or Fraction(25)), True
    usual = float(np.median(gaps))
    stated = float(info.fps)
    whole = stated and abs(stated * usual - 1) < 0.02  # times may be rounded to milliseconds
    fps = info.fps if whole else _common(1 / usual)
    # distance of every frame from the grid of the rate, a lost frame being no fault of it
    steps = np.diff(times) * float(fps)
    steady = bool((np.abs(steps - np.rint(steps)) < STEADY).all() and (steps < 1.5).mean() > 0.9)
    return _within(fps), steady


def _common(rate: float) -> Fraction:
    """The common rate nearest to a measured one, or the measured one itself."""
    nearest = min(COMMON_RATES, key=lambda known: abs(float(known) - rate))
    if abs(float(nearest) / rate - 1) < max(RATE_TOLERANCE, 0.02):
        return nearest
    return Fraction(rate).limit_denominator(100)


def _within(fps: Fraction) -> Fraction:
    return min(max(fps, Fraction(FPS_RANGE[0])), Fraction(FPS_RANGE[1]))


def _reading_arguments(
    film: Film, first: int, n_frames: int | None, longest_side: int | None, quickly: bool
) -> list[str]:
    # The grid of frames is the same wherever reading begins: it counts from the film's beginning.
    filters = [f"fps=fps={film.fps}:start_time={float(first / film.fps):.9f}:round=near"]
    if longest_side is not None and max(film.size) > longest_side:
        scale = longest_side / max(film.size)
        height, width = (max(2, round(n * scale)) for n in film.size)
        filters.append(f"scale={width}:{height}:flags=area")
    if film.is_hdr:
        filters.append(TONE_MAP)
    arguments = ["-v", "error"]
    if first:
        ahead_s = max(0.0, float(first / film.fps) - SEEK_AHEAD_S)
        arguments += ["-ss", f"{ahead_s:.6f}", "-copyts", "-start_at_zero"]
    arguments += [*input_arguments(film.path), "-map", "0:v:0"]
    arguments += ["-fps_mode", "passthrough"]
    if n_frames is not None:
        arguments += ["-frames:v", str(n_frames)]
    return arguments + ppm_arguments(filters, quickly=quickly)
