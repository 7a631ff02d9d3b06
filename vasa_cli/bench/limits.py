"""What the machine can do at best: convolutions, one sampling of a picture, encoding alone."""

from __future__ import annotations

import math
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from vasa_cli.models import fields
from vasa_cli.models.blocks import channels_last
from vasa_cli.video import VideoWriter

LEAST_S, LEAST_RUNS = 0.4, 3  # of one measurement
CONV_SHAPE = (8, 64, 64, 64)  # of the convolution whose rate is measured
ENCODED_FRAMES = 100


def best_s(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of some runs, after one to warm up."""
    work()
    taken: list[float] = []
    while len(taken) < LEAST_RUNS or sum(taken) < LEAST_S:
        settle(device)
        begun_s = time.perf_counter()
        work()
        settle(device)
        taken.append(time.perf_counter() - begun_s)
    return min(taken)


def settle(device: torch.device) -> None:
    """Wait for what was handed to a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.inference_mode()
def conv_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Floating point operations a second of a 3x3 convolution, channels last."""
    channels = CONV_SHAPE[1]
    x = channels_last(torch.rand(CONV_SHAPE, device=device, dtype=dtype))
    weight = channels_last(torch.rand(channels, channels, 3, 3, device=device, dtype=dtype))
    n_operations = 2 * 9 * channels * math.prod(CONV_SHAPE)
    return n_operations / best_s(lambda: F.conv2d(x, weight, padding=1), device)


def conv_rates(device: torch.device) -> dict[str, float]:
    """GFLOP a second of that convolution in each number format that the decoder may run in."""
    kinds = (torch.bfloat16, torch.float32)
    return {str(kind).removeprefix("torch."): conv_flops(device, kind) / 1e9 for kind in kinds}


@torch.inference_mode()
def network_flops(network: nn.Module, *given: Tensor) -> int:
    """Floating point operations of one run."""
    with FlopCounterMode(display=False) as counter:
        network(*given)
    return counter.get_total_flops()


@torch.inference_mode()
def sampling_s(side: int, device: torch.device) -> float:
    """Seconds to sample one picture along a smooth flow."""
    generator = torch.Generator().manual_seed(0)
    flow = torch.randn(1, 2, 8, 8, generator=generator) * 0.02
    flow = F.interpolate(flow, size=(side, side), mode="bicubic").permute(0, 2, 3, 1)
    grid = (fields.pixel_grid(side) + flow).contiguous().to(device)
    photo = torch.rand(1, 3, side, side, device=device)
    return best_s(lambda: F.grid_sample(photo, grid, align_corners=False), device)


def encoding_s(frames: Sequence[np.ndarray], *, crf: int) -> float:
    """Seconds a frame to encode frames that are there, forth and back, with nothing else to do."""
    there_and_back = [*frames, *frames[-2:0:-1]]
    n_frames, (height, width) = ENCODED_FRAMES, frames[0].shape[:2]
    with tempfile.TemporaryDirectory(prefix="vasa-bench-") as folder:
        begun_s = time.perf_counter()
        with VideoWriter(
            Path(folder) / "video.mp4",
            width=width,
            height=height,
            fps=Fraction(25),
            audio=None,
            duration_s=n_frames / 25,
            crf=crf,
            threads=1,
        ) as writer:
            for k in range(n_frames):
                writer.write(there_and_back[k % len(there_and_back)])
        return (time.perf_counter() - begun_s) / n_frames
