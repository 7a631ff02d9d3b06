"""Videos that tests make from frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Callable, Iterable, Mapping

import numpy as np

from vasa_cli.video import VideoWriter


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    fps: int = 25,
    audio: Path | None = None,
    crf: int = 10,
    metadata: Mapping[str, str] | None = None,
    finish: Callable[[Path], None] | None = None,
) -> Path:
    """Frames (H, W, 3) uint8 as an MP4, by one thread and so the same each time."""
    frames = list(frames)
    with VideoWriter(
        path,
        width=frames[0].shape[1],
        height=frames[0].shape[0],
        fps=Fraction(fps),
        audio=audio,
        duration_s=len(frames) / fps,
        crf=crf,
        metadata=metadata,
        threads=1,
        finish=finish,
    ) as video:
        for frame in frames:
            video.write(frame)
    return path
