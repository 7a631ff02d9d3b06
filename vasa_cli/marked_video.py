"""Frames of any making into an MP4 with vasa's marks: the end of every line but `render`'s own."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable, Sequence

import numpy as np

from vasa_cli.config import Progress, ProgressCallback, RenderOptions, RenderResult
from vasa_cli.label import Label
from vasa_cli.pipeline import frame_marks
from vasa_cli.placement import Placement
from vasa_cli.provenance import Stamp
from vasa_cli.squares import Window
from vasa_cli.video import VideoWriter
from vasa_cli.watermark import Watermarker

Mark = Label | Watermarker


@dataclass(frozen=True, kw_only=True)
class Making:
    """What a video is made of, and with what."""

    output: Path
    source: Path  # the picture or film it is made from, which a signature may name
    options: RenderOptions
    weights_dir: Path
    started_s: float  # time.monotonic() at the beginning
    seed: int | None = None
    device: str = ""


def write_marked(
    draw: Callable[[Sequence[Mark]], Iterable[np.ndarray]],
    making: Making,
    *,
    height: int,
    width: int,
    n_frames: int,
    sound: Path | None,
    warnings: tuple[str, ...] = (),
    tell: ProgressCallback = lambda step: None,
) -> RenderResult:
    """Write an MP4 with the label, watermark, tags and signature asked for.

    H.264 wants even sizes: of an odd one the last row or column is left out.

    Args:
        draw: gives the frames (H, W, 3) uint8, with the marks that it is handed in them; see
            `even_part`.
        height: of the frames, even or not, as width.
        n_frames: of how many the video is to be.
        sound: whose first track is put in; None for no sound.

    Raises: ResourceError, ProvenanceError as their names say; nothing is left then.
    """
    options = making.options
    height, width = height - height % 2, width - width % 2
    stamp = Stamp(
        options, output=making.output, photo=making.source, weights_dir=making.weights_dir
    )
    window = Window(width / 2, height / 2, max(width, height) / 2)
    marks = frame_marks(Placement(width, height, max(width, height), window), options)
    digest = hashlib.sha256()
    duration_s = float(n_frames / options.fps)
    with VideoWriter(
        making.output,
        width=width,
        height=height,
        fps=options.fps,
        audio=sound,
        duration_s=duration_s,
        crf=options.crf,
        metadata=stamp.metadata,
        threads=1,  # x264's choices follow from their number; one keeps up with the networks
        finish=stamp.finish,
    ) as writer:
        for frame in draw(marks):
            digest.update(frame.data)
            writer.write(frame)
            tell(Progress("frames", writer.n_frames, n_frames))
        tell(Progress("encode", 0, 1))
    return RenderResult(
        output=making.output,
        n_frames=writer.n_frames,
        fps=options.fps,
        width=width,
        height=height,
        duration_s=float(writer.n_frames / options.fps),
        elapsed_s=time.monotonic() - making.started_s,
        seed=making.seed,
        device=making.device,
        frames_sha256=digest.hexdigest(),
        warnings=warnings,
        provenance=stamp.summary,
    )


def even_part(frame: np.ndarray) -> np.ndarray:
    """A frame (H, W, 3) without the last row or column of an odd size, C-contiguous."""
    height, width = frame.shape[0] - frame.shape[0] % 2, frame.shape[1] - frame.shape[1] % 2
    return np.ascontiguousarray(frame[:height, :width])
