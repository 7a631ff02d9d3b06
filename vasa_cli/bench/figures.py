"""What is measured, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Mapping


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is rendered, on how much of the machine."""

    photo: Path
    speech: Path
    size: int  # pixels
    cores: int
    seconds: float  # of sound, repeated where it is shorter
    device: str = "cpu"
    weights_dir: Path | None = None
    with_stages: bool = False  # measure each stage too, after the render


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of the line, alone on one core."""

    name: str
    ms: float  # a frame; a video where it says so
    per_video: bool = False
    added_mb: float | None = None  # most memory at once beyond what there was; None if not told
    limit_ms: float | None = None  # what the machine needs at least, where that is known
    limit: str = ""  # what that is


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one case took."""

    n_frames: int
    video_fps: Fraction  # of the video
    start_up_s: float  # from the process's start until the networks are ready
    first_frame_s: float  # from the process's start until the first frame is handed to ffmpeg
    total_s: float  # from the process's start until the video stands under its name
    steady_fps: float | None  # between first and last frame; None where there is one batch alone
    peak_mb: float | None  # of this process; None where the system does not tell
    ffmpeg_peak_mb: float | None
    precision: str  # of the networks
    stages: tuple[Stage, ...] = ()
    conv_gflops: Mapping[str, float] = field(default_factory=dict)  # a second, by number format

    @property
    def fps(self) -> float:
        """Of the whole command."""
        return self.n_frames / self.total_s

    @property
    def times_real_time(self) -> float:
        """Seconds of video made in a second of the whole command."""
        return self.fps / float(self.video_fps)
