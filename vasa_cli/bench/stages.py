"""Every stage of a render by itself, on one core as the drawing threads have it."""

from __future__ import annotations

import hashlib
import time
from itertools import islice
from pathlib import Path
from typing import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from vasa_cli.audio import load_audio
from vasa_cli.bench import limits
from vasa_cli.bench.figures import Stage
from vasa_cli.config import MOTION_FPS, RenderOptions
from vasa_cli.face import to_pixels
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE
from vasa_cli.loading import Models
from vasa_cli.models.decoder import FIELD_SIDE
from vasa_cli.models.moved import sample_whole
from vasa_cli.models.painting import EYE_SIDE, MOUTH_SIDE
from vasa_cli.motion import MOUTH_OPEN, Motion, perform
from vasa_cli.pipeline import BATCH, Renderer, frame_marks, marked, read_portrait
from vasa_cli.placement import place

HEARD_S = 10.0  # of sound from which motion is sampled
MS = 1000.0


def precision(models: Models) -> str:
    """The number format in which the decoder's networks run."""
    return "bfloat16" if models.decoder.bf16 else "float32"


@torch.inference_mode()
def measure_stages(
    renderer: Renderer, photo: Path, speech: Path, options: RenderOptions
) -> tuple[tuple[Stage, ...], dict[str, float]]:
    """All stages in their order, and `limits.conv_rates`; a GPU's share of them runs there."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rates = limits.conv_rates(renderer.models.device)
        return _measure(renderer, photo, speech, options, rates), rates
    finally:
        torch.set_num_threads(n_threads)


def _measure(
    renderer: Renderer,
    photo: Path,
    speech: Path,
    options: RenderOptions,
    rates: Mapping[str, float],
) -> tuple[Stage, ...]:
    models, device = renderer.models, renderer.models.device
    decoder = models.decoder

    def once(work: Callable[[], object]) -> float:
        begun_s = time.perf_counter()
        work()
        limits.settle(device)
        return MS * (time.perf_counter() - begun_s)

    def frame_ms(work: Callable[[], object]) -> float:
        return MS * limits.best_s(work, device) / BATCH

    portrait = renderer.read_portrait(photo, options)
    placement = place(portrait.picture, portrait.window, options)
    stages = [
        Stage(
            name="read photo",
            ms=once(lambda: read_portrait(models.reader, photo, options))
            + once(lambda: renderer.look(portrait, placement)),
            per_video=True,
        )
    ]
    audio = load_audio(speech, max_seconds=HEARD_S)
    n_heard = len(audio.samples) / audio.sample_rate * MOTION_FPS
    hearing_ms = once(lambda: models.ear.read(audio)) / n_heard
    sampling_ms = once(lambda: renderer.sample_motion(audio, options)) / n_heard
    stages.append(Stage(name="hear speech", ms=hearing_ms))
    stages.append(Stage(name="sample motion", ms=max(0.0, sampling_ms - hearing_ms)))

    part = _turning(BATCH)
    seen = renderer.look(portrait, placement).expand(BATCH)
    points = placement.window.to_crop(
        portrait.window.from_crop(perform(part, portrait.code, models.geometry))
    )
    targets = torch.from_numpy(points).float().to(device)
    moved = decoder.move(seen, targets)
    frames = sample_whole(seen.photo, moved)
    painted = [*decoder.paint_eyes(seen, targets, moved), decoder.paint_mouth(seen, targets, moved)]
    squares = to_pixels(frames.clone())
    marks = frame_marks(placement, options)

    def put() -> None:
        for part in painted:
            part.put(frames)

    def shown() -> list[np.ndarray]:
        return [placement.finish(square) for square in squares]

    drawn = shown()
    rate = 1e9 * rates[precision(models)]
    convolving = f"its FLOPs at the {precision(models)} rate of a 3x3 convolution"

    def network_stage(
        name: str, work: Callable[[], object], network: nn.Module, side: int, n_runs: int = 1
    ) -> Stage:
        least_ms = MS * n_runs * limits.network_flops(network, _blank(network, side)) / rate
        return Stage(name=name, ms=frame_ms(work), limit_ms=least_ms, limit=convolving)

    stages += [
        Stage(
            name="place landmarks",
            ms=frame_ms(lambda: perform(part, portrait.code, models.geometry)),
        ),
        network_stage(
            "motion field", lambda: decoder.move(seen, targets), decoder.motion, FIELD_SIDE
        ),
        Stage(
            name="warp",
            ms=frame_ms(lambda: sample_whole(seen.photo, moved)),
            limit_ms=MS * limits.sampling_s(placement.side, device),
            limit="one grid_sample of that size",
        ),
        network_stage(
            "mouth",
            lambda: decoder.paint_mouth(seen, targets, moved),
            decoder.mouth,
            MOUTH_SIDE // 2,
        ),
        network_stage(
            "eyes",
            lambda: decoder.paint_eyes(seen, targets, moved),
            decoder.eye,
            EYE_SIDE // 2,
            n_runs=2,
        ),
        Stage(name="blend", ms=frame_ms(put)),
        Stage(name="to pixels", ms=frame_ms(lambda: to_pixels(frames.clone())) + frame_ms(shown)),
        Stage(name="mark", ms=frame_ms(lambda: [marked(frame, marks) for frame in drawn])),
        Stage(
            name="checksum", ms=frame_ms(lambda: [hashlib.sha256(frame.data) for frame in drawn])
        ),
    ]
    few = list(islice(renderer.draw(portrait, _turning(3 * BATCH), placement, marks), 3 * BATCH))
    alone_ms = MS * limits.encoding_s(few, crf=options.crf)
    return (*stages, Stage(name="encode video", ms=alone_ms, limit_ms=alone_ms, limit="itself"))


def _turning(n_frames: int) -> Motion:
    """A head that turns and a mouth that opens, so that every frame is another."""
    phase = np.sin(np.arange(n_frames) * 0.4)
    pose, dynamics = np.zeros((n_frames, N_HEAD_POSE)), np.zeros((n_frames, N_DYNAMICS))
    pose[:, 0], dynamics[:, MOUTH_OPEN] = 6 * phase, 1 + phase
    return Motion(pose, dynamics)


def _blank(network: nn.Module, side: int) -> Tensor:
    """What the network is given for one frame, empty."""
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    return first.weight.new_zeros(1, first.in_channels, side, side)
