"""Every stage of a render by itself, on one core as the drawing threads have it."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, TypeVar

import numpy as np
import torch
from torch import Tensor

from vasa_cli.audio import load_audio
from vasa_cli.bench import limits
from vasa_cli.bench.figures import Stage
from vasa_cli.bench.memory import with_added_mb
from vasa_cli.config import MOTION_FPS, RenderOptions
from vasa_cli.loading import Models, load_models
from vasa_cli.models.blocks import UNet
from vasa_cli.models.decoder import FIELD_SIDE, eye_tweens
from vasa_cli.models.moved import MotionField, each_whole, sample_whole
from vasa_cli.models.painting import EYE_SIDE, MOUTH_SIDE, Painted
from vasa_cli.models.tweens import Tweens
from vasa_cli.motion import Motion, perform
from vasa_cli.pipeline import BATCH, Portrait, Renderer, frame_marks, marked, read_portrait
from vasa_cli.placement import place
from vasa_cli.squares import to_pixels

Result = TypeVar("Result")
HEARD_S = 10.0  # of sound from which motion is sampled
MOST_BATCHES = 4  # of frames of that motion, which are drawn
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
        before, motion = _before_the_frames(renderer, photo, speech, options)
        portrait = renderer.read_portrait(photo, options)
        return (*before, *_of_the_frames(renderer, portrait, motion, options, rates)), rates
    finally:
        torch.set_num_threads(n_threads)


def _before_the_frames(
    renderer: Renderer, photo: Path, speech: Path, options: RenderOptions
) -> tuple[list[Stage], Motion]:
    """Stages of a video or of its sound, each done once, and the motion that was sampled."""
    models, device = renderer.models, renderer.models.device

    def once(work: Callable[[], Result]) -> tuple[Result, float, float | None]:
        """What work gives, its milliseconds and the memory it takes."""

        def timed() -> tuple[Result, float]:
            begun_s = time.perf_counter()
            result = work()
            limits.settle(device)
            return result, MS * (time.perf_counter() - begun_s)

        (result, ms), added_mb = with_added_mb(timed, device)
        return result, ms, added_mb

    def a_video(name: str, work: Callable[[], object]) -> Stage:
        _, ms, added_mb = once(work)
        return Stage(name=name, ms=ms, per_video=True, added_mb=added_mb)

    stages = [
        a_video("load", lambda: load_models(renderer.weights_dir, device)),
        a_video("read photo", lambda: read_portrait(models.reader, photo, options)),
    ]
    portrait = renderer.read_portrait(photo, options)
    placement = place(portrait.picture, portrait.window, options)
    stages.append(a_video("encode photo", lambda: renderer.look(portrait, placement)))
    audio = load_audio(speech, max_seconds=HEARD_S)
    n_heard = len(audio.samples) / audio.sample_rate * MOTION_FPS
    _, hearing_ms, hearing_mb = once(lambda: models.ear.read(audio))
    motion, sampling_ms, sampling_mb = once(lambda: renderer.sample_motion(audio, options))
    sampling_ms = max(0.0, sampling_ms - hearing_ms)
    stages += [
        Stage(name="hear speech", ms=hearing_ms / n_heard, added_mb=hearing_mb),
        Stage(name="sample motion", ms=sampling_ms / n_heard, added_mb=sampling_mb),
    ]
    return stages, motion


def _of_the_frames(
    renderer: Renderer,
    portrait: Portrait,
    motion: Motion,
    options: RenderOptions,
    rates: Mapping[str, float],
) -> Iterator[Stage]:
    """Stages of a few batches of frames of a motion."""
    models, device, decoder = renderer.models, renderer.models.device, renderer.models.decoder
    placement = place(portrait.picture, portrait.window, options)
    seen = renderer.look(portrait, placement).expand(BATCH)
    parts = batches(motion)

    def stage(
        name: str, work: Callable[..., object], items: Iterable[Any], n_frames: int, **limit: Any
    ) -> Stage:
        """Work on one item after the other, of so many frames together; no result is kept."""
        there = list(items)

        def run() -> None:
            for item in there:
                work(*item)

        ms = MS * limits.best_s(run, device) / n_frames
        return Stage(name=name, ms=ms, added_mb=with_added_mb(run, device)[1], **limit)

    def convolving(network: UNet, side: int, n_runs: float = 1) -> dict[str, Any]:
        """The limit of a stage whose network runs so many times a frame."""
        kind = precision(models)
        n_operations = n_runs * limits.network_flops(network, *_blank(network, side))
        return {
            "limit_ms": MS * n_operations / (1e9 * rates[kind]),
            "limit": f"its FLOPs at the {kind} rate of a 3x3 convolution",
        }

    def located(part: Motion) -> np.ndarray:
        return perform(part, portrait.code, models.geometry)

    def paint_eyes(points: Tensor, field: MotionField) -> tuple[Painted, Painted]:
        return decoder.paint_eyes(seen, points, field, in_a_row=True)

    def paint_mouth(points: Tensor, field: MotionField) -> Painted:
        return decoder.paint_mouth(seen, points, field)

    here = [placement.window.to_crop(portrait.window.from_crop(located(part))) for part in parts]
    targets = [torch.from_numpy(points).float().to(device) for points in here]
    fields = [decoder.move(seen, points) for points in targets]
    n_frames = BATCH * len(parts)
    yield stage("place landmarks", located, zip(parts), n_frames)
    yield stage(
        "motion field",
        lambda points: decoder.move(seen, points),
        zip(targets),
        n_frames,
        **convolving(decoder.motion, FIELD_SIDE),
    )
    yield stage(
        "warp",
        lambda field: deque(each_whole(seen.photo, field), maxlen=0),
        zip(fields),
        n_frames,
        limit_ms=MS * limits.sampling_s(placement.side, device),
        limit="one grid_sample of that size",
    )
    yield stage(
        "mouth",
        paint_mouth,
        zip(targets, fields),
        n_frames,
        **convolving(decoder.mouth, MOUTH_SIDE // 2),
    )
    yield stage(
        "eyes",
        paint_eyes,
        zip(targets, fields),
        n_frames,
        **convolving(decoder.eye, EYE_SIDE // 2, 2 * _asked(map(eye_tweens, targets))),
    )
    frames = sample_whole(seen.photo, fields[0])
    painted = [*paint_eyes(targets[0], fields[0]), paint_mouth(targets[0], fields[0])]
    squares, marks = to_pixels(frames.clone()), frame_marks(placement, options)

    def finish(levels: Tensor) -> list[np.ndarray]:
        return [placement.finish(square) for square in to_pixels(levels.clone())]

    shown = [placement.finish(square) for square in squares]
    yield stage("blend", lambda part: part.put(frames), zip(painted), BATCH)
    yield stage("to pixels", finish, [(frames,)], BATCH)
    yield stage("mark", lambda frame: marked(frame, marks), zip(shown), BATCH)
    yield stage("checksum", lambda frame: hashlib.sha256(frame.data), zip(shown), BATCH)
    few = list(renderer.draw(portrait, parts[:1], placement, marks))
    alone_s, alone_mb = with_added_mb(lambda: limits.encoding_s(few, crf=options.crf), device)
    alone_ms = MS * alone_s
    yield Stage(
        name="encode video", ms=alone_ms, added_mb=alone_mb, limit_ms=alone_ms, limit="itself"
    )


def batches(motion: Motion) -> list[Motion]:
    """A few batches of frames in a row, evenly out of a motion; a short one stands at its end."""
    n_batches = min(MOST_BATCHES, max(1, len(motion) // BATCH))
    starts = np.linspace(0, max(0, len(motion) - BATCH), n_batches).astype(int)
    rows = [(start + np.arange(BATCH)).clip(max=len(motion) - 1) for start in starts]
    return [Motion(motion.head_pose[row], motion.dynamics[row], motion.fps) for row in rows]


def _asked(tweens: Iterable[Tweens]) -> float:
    """The share of all frames that a network is asked for."""
    rows = list(tweens)
    return sum(len(row.asked) for row in rows) / (BATCH * len(rows))


def _blank(network: UNet, side: int) -> tuple[Tensor, Tensor]:
    """What the network is given for one frame, empty."""
    n_channels, weight = network.enter.in_channels, network.enter.weight
    shapes = ((1, n, side, side) for n in (n_channels, len(weight)))
    x, entered = (weight.new_zeros(shape) for shape in shapes)
    return x, entered
