"""Films that tests make: a portrait that is moved by known amounts, and what ffmpeg does to it."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Iterable

import numpy as np
from PIL import Image

from tests.test_video import ffmpeg
from vasa_cli.video import VideoWriter

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SIDE = 192


def photo(name: str = "portrait.jpg", side: int = SIDE) -> Image.Image:
    return Image.open(EXAMPLES / name).convert("RGB").resize((side, side), Image.Resampling.LANCZOS)


def moved(
    picture: Image.Image,
    *,
    right: float = 0.0,
    down: float = 0.0,
    roll_deg: float = 0.0,
    zoom: float = 1.0,
) -> np.ndarray:
    """The picture shifted by pixels, turned clockwise and enlarged about its middle."""
    turn = math.radians(roll_deg)
    cos, sin = math.cos(turn) / zoom, math.sin(turn) / zoom
    x, y = picture.width / 2, picture.height / 2
    # from the result to the picture
    coefficients = (
        *(cos, sin, x - cos * (x + right) - sin * (y + down)),
        *(-sin, cos, y + sin * (x + right) - cos * (y + down)),
    )
    return np.asarray(
        picture.transform(
            picture.size,
            Image.Transform.AFFINE,
            coefficients,
            resample=Image.Resampling.BICUBIC,
            fillcolor=(90, 90, 90),
        )
    )


def nothing(n_frames: int, side: int = SIDE) -> list[np.ndarray]:
    """Frames without a face."""
    y, x = np.mgrid[:side, :side]
    plain = np.stack([60 + x // 4, 80 + y // 4, np.full_like(x, 120)], -1).astype(np.uint8)
    return [plain] * n_frames


def write_film(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    fps: Fraction = Fraction(25),
    sound: Path | None = None,
    crf: int = 12,
) -> Path:
    frames = list(frames)
    height, width = frames[0].shape[:2]
    with VideoWriter(
        path,
        width=width,
        height=height,
        fps=fps,
        audio=sound,
        duration_s=len(frames) / float(fps),
        crf=crf,
        threads=1,
    ) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def turned_by_phone(film: Path, output: Path, degrees: int = 90) -> Path:
    """The same film, its pictures lying on their side and a note to turn them back."""
    side = output.with_name(f"side-{output.name}")
    ffmpeg("-i", film, "-vf", "transpose=1", "-c:v", "libx264", "-crf", "12", side)
    ffmpeg("-display_rotation", degrees, "-i", side, "-c", "copy", output)
    return output


def as_hdr(film: Path, output: Path, transfer: str = "smpte2084") -> Path:
    """The same film in ten bits, encoded as HDR, at a white of 203 cd/m2."""
    convert = (
        "zscale=transfer=linear:transferin=bt709:primariesin=bt709:matrixin=bt709:npl=203,"
        f"format=gbrpf32le,zscale=primaries=bt2020:transfer={transfer}:matrix=bt2020nc:npl=203,"
        "format=yuv420p10le"
    )
    tags = ["-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc"]
    ffmpeg(
        "-i",
        film,
        "-vf",
        convert,
        "-c:v",
        "libx265",
        "-x265-params",
        "log-level=none",
        "-crf",
        "10",
        *tags,
        output,
    )
    return output


def with_damage(film: Path, output: Path, *, start: float = 0.4, stop: float = 0.6) -> Path:
    """The same file with noise written over a part of its pictures."""
    data = bytearray(film.read_bytes())
    begin = data.index(b"mdat") + 4
    end = len(data)
    for key in (b"moov",):
        at = data.find(key, begin)
        end = at if at > 0 else end
    first, last = (int(begin + (end - begin) * share) for share in (start, stop))
    data[first:last] = np.random.default_rng(0).bytes(last - first)
    output.write_bytes(bytes(data))
    return output
