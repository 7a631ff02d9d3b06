"""Two videos side by side: what differs in form, frame by frame, in the face, and by how much."""

from __future__ import annotations

import heapq
import math
import os
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Callable, Iterator
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from vasa_cli.audio import load_audio
from vasa_cli.config import CompareLimits
from vasa_cli.errors import InputError, UsageError
from vasa_cli.video import VideoInfo, probe, read_video

IDENTICAL_PSNR_DB = 100.0  # of equal frames, whose true ratio is infinite
SOUND_TOLERANCE_S = 0.05  # two AAC frames: encoders pad differently
SSIM_SIGMA = 1.5  # of the Gaussian window
SSIM_RADIUS = 5
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # BT.709
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

# Landmarks of a frame (H, W, 3) uint8: (N, 2 or 3) in pixels, None where no face is found.
PointsOfFrame = Callable[[np.ndarray], np.ndarray | None]


@dataclass(frozen=True)
class Check:
    """One property of the two videos."""

    name: str
    passed: bool
    seen: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All checks, and the figures behind them; a figure is None where it could not be taken."""

    a: Path
    b: Path
    checks: tuple[Check, ...]
    n_compared: int  # frames that both have
    min_psnr_db: float | None
    mean_psnr_db: float | None
    worst_psnr_frame: int | None  # counted from 0
    min_ssim: float | None
    mean_ssim: float | None
    worst_ssim_frame: int | None
    max_drift: float | None  # mean over the points, in face heights; inf where one face is missing
    worst_drift_frame: int | None
    worst_frames: tuple[tuple[int, np.ndarray, np.ndarray], ...] = ()  # number, A, B

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Plain values, without the pictures; an infinite drift is null with its check failed."""
        plain = {key: value for key, value in vars(self).items() if key != "worst_frames"}
        plain |= {"a": str(self.a), "b": str(self.b), "passed": self.passed}
        plain["checks"] = [asdict(check) for check in self.checks]
        return {
            key: None if isinstance(value, float) and math.isinf(value) else value
            for key, value in plain.items()
        }


def compare(
    a: Path,
    b: Path,
    *,
    limits: CompareLimits = CompareLimits(),
    points: PointsOfFrame | None = None,
    n_worst: int = 3,
) -> Comparison:
    """Checks two videos for the same form and, where they have it, for like frames.

    Args:
        points: finds landmarks; needed where `limits.max_drift` is set.
        n_worst: frames of lowest PSNR to keep, with their pictures.

    Raises:
        InputError: either cannot be read as a video.
    """
    if limits.max_drift is not None and points is None:
        raise ValueError("a limit on drift needs a function that finds points")
    infos = [probe(path, count_frames=True) for path in (a, b)]
    checks = list(_check_form(*infos))
    frames = _Frames(points if limits.max_drift is not None else None, n_worst)
    if (infos[0].width, infos[0].height) == (infos[1].width, infos[1].height):
        for pair in zip(read_video(a), read_video(b)):
            frames.add(*pair)
        checks += _check_frames(frames, limits)
    psnr, ssim, drift = frames.psnr, frames.ssim, frames.drift
    return Comparison(
        a=a,
        b=b,
        checks=tuple(checks),
        n_compared=len(psnr),
        min_psnr_db=min(psnr, default=None),
        mean_psnr_db=float(np.mean(psnr)) if psnr else None,
        worst_psnr_frame=int(np.argmin(psnr)) if psnr else None,
        min_ssim=min(ssim, default=None),
        mean_ssim=float(np.mean(ssim)) if ssim else None,
        worst_ssim_frame=int(np.argmin(ssim)) if ssim else None,
        max_drift=max(drift, default=None),
        worst_drift_frame=int(np.argmax(drift)) if drift else None,
        worst_frames=frames.worst(),
    )


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures of one shape, at most IDENTICAL_PSNR_DB."""
    error = np.mean(np.square(a.astype(np.float32) - b.astype(np.float32)), dtype=np.float64)
    if error == 0:
        return IDENTICAL_PSNR_DB
    return min(IDENTICAL_PSNR_DB, 10 * math.log10(255**2 / error))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of the luma of two (H, W, 3) uint8 pictures, 1.0 for equal ones.

    Source: Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity
    (2004), equation 13, with its Gaussian window of 11x11 pixels wherever it fits whole.

    Raises:
        InputError: a picture smaller than the window.
    """
    if min(a.shape[:2]) < 2 * SSIM_RADIUS + 1:
        raise InputError(
            f"pictures of {a.shape[1]}x{a.shape[0]} are too small to compare;"
            f" at least {2 * SSIM_RADIUS + 1} pixels a side are needed"
        )
    x, y = a.astype(np.float32) @ _LUMA, b.astype(np.float32) @ _LUMA  # (H, W)
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x, variance_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    scale = (mean_x**2 + mean_y**2 + _C1) * (variance_x + variance_y + _C2)
    return float(np.mean(likeness / scale, dtype=np.float64))


def landmark_drift(a: np.ndarray | None, b: np.ndarray | None) -> float:
    """Mean distance of two sets of points, in heights of A's face; 0.0 without any face.

    Args:
        a: (N, 2 or 3) in pixels; depth is not looked at.

    Returns:
        inf when only one of the two is a face.
    """
    if a is None or b is None:
        return 0.0 if a is b else math.inf
    height = float(np.ptp(a[:, 1])) or 1.0
    return float(np.linalg.norm(a[:, :2] - b[:, :2], axis=1).mean()) / height


def save_diff(comparison: Comparison, path: Path) -> None:
    """Writes the worst frames as PNG, a row each: A, B and a heat map of their difference.

    The map goes from black, equal, over red and yellow to white, 64 grey levels apart or more.

    Raises:
        UsageError: no frames were compared, or the picture cannot be written.
    """
    if not comparison.worst_frames:
        raise UsageError(f"no frames were compared, so there is nothing to draw in {path}")
    rows = [np.hstack([a, b, heat_map(a, b)]) for _, a, b in comparison.worst_frames]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        Image.fromarray(np.vstack(rows)).save(temporary, format="PNG")
        os.replace(temporary, path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def heat_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 that shows where two pictures differ most in any channel."""
    apart = np.abs(a.astype(np.int16) - b).max(axis=-1, keepdims=True) / 64.0  # (H, W, 1)
    return (np.clip(3 * apart - [0, 1, 2], 0, 1) * 255).astype(np.uint8)  # (H, W, 3)


def junit(comparisons: list[Comparison]) -> bytes:
    """A JUnit report: a suite for each pair of videos, a case for each check."""
    root = ElementTree.Element("testsuites", name="vasa compare")
    for comparison in comparisons:
        n_failed = sum(not check.passed for check in comparison.checks)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=f"{comparison.a} {comparison.b}",
            tests=str(len(comparison.checks)),
            failures=str(n_failed),
        )
        for check in comparison.checks:
            case = ElementTree.SubElement(
                suite, "testcase", name=check.name, classname=f"vasa.compare.{comparison.b.stem}"
            )
            if not check.passed:
                ElementTree.SubElement(case, "failure", message=check.seen).text = check.seen
    ElementTree.indent(root)
    report: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return report + b"\n"


class _Frames:
    """Figures of frame after frame; keeps the pictures of the worst only."""

    def __init__(self, points: PointsOfFrame | None, n_worst: int) -> None:
        self._points, self._n_worst = points, n_worst
        self.psnr: list[float] = []
        self.ssim: list[float] = []
        self.drift: list[float] = []
        # The best of the worst on top; the number, unlike for each, keeps pictures uncompared.
        self._heap: list[tuple[float, int, np.ndarray, np.ndarray]] = []

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        number = len(self.psnr)
        self.psnr.append(psnr_db(a, b))
        self.ssim.append(ssim(a, b))
        if self._points is not None:
            self.drift.append(landmark_drift(self._points(a), self._points(b)))
        heapq.heappush(self._heap, (-self.psnr[-1], -number, a, b))
        if len(self._heap) > self._n_worst:
            heapq.heappop(self._heap)

    def worst(self) -> tuple[tuple[int, np.ndarray, np.ndarray], ...]:
        return tuple((-one[1], one[2], one[3]) for one in sorted(self._heap, reverse=True))


def _check_form(a: VideoInfo, b: VideoInfo) -> Iterator[Check]:
    """Size, frame count, rate and sound."""
    sizes = [f"{info.width}x{info.height}" for info in (a, b)]
    yield Check("size", sizes[0] == sizes[1], _both(*sizes))
    yield Check("frames", a.n_frames == b.n_frames, _both(str(a.n_frames), str(b.n_frames)))
    yield Check("fps", a.fps == b.fps, _both(_rate(a.fps), _rate(b.fps)))
    sounds = [_sound_s(info) for info in (a, b)]
    apart_s = abs((sounds[0] or 0.0) - (sounds[1] or 0.0))
    alike = (sounds[0] is None) == (sounds[1] is None) and apart_s <= SOUND_TOLERANCE_S
    texts = ["no sound" if sound is None else f"{sound:.2f} s" for sound in sounds]
    yield Check("sound", alike, _both(*texts))


def _check_frames(frames: _Frames, limits: CompareLimits) -> Iterator[Check]:
    low, low_ssim = min(frames.psnr), min(frames.ssim)
    yield Check(
        "psnr",
        low >= limits.min_psnr_db,
        f"{low:.2f} dB in frame {np.argmin(frames.psnr)}, at least {limits.min_psnr_db:g} wanted",
    )
    yield Check(
        "ssim",
        low_ssim >= limits.min_ssim,
        f"{low_ssim:.4f} in frame {np.argmin(frames.ssim)}, at least {limits.min_ssim:g} wanted",
    )
    if limits.max_drift is not None:
        drift = max(frames.drift)
        yield Check(
            "drift",
            drift <= limits.max_drift,
            f"{drift:.4f} face heights in frame {np.argmax(frames.drift)},"
            f" at most {limits.max_drift:g} wanted",
        )


def _sound_s(info: VideoInfo) -> float | None:
    """The length of a video's sound as decoded; None without one, or with next to nothing."""
    if not info.has_audio:
        return None
    try:
        return load_audio(info.path).duration_s
    except InputError:
        return None


def _blur(image: np.ndarray) -> np.ndarray:
    """A Gaussian mean around each pixel whose window lies inside: (H - 10, W - 10)."""
    offsets = np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1)
    weights = np.exp(-(offsets**2) / (2 * SSIM_SIGMA**2)).astype(np.float32)
    weights /= weights.sum()
    height, width = image.shape[0] - 2 * SSIM_RADIUS, image.shape[1] - 2 * SSIM_RADIUS
    rows = np.zeros((height, image.shape[1]), np.float32)
    for at, weight in enumerate(weights):
        rows += weight * image[at : at + height]
    blurred = np.zeros((height, width), np.float32)
    for at, weight in enumerate(weights):
        blurred += weight * rows[:, at : at + width]
    return blurred


def _rate(fps: Fraction) -> str:
    return f"{float(fps):g} fps"


def _both(a: str, b: str) -> str:
    return a if a == b else f"{a} and {b}"
