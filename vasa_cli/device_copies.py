"""Copies to and from a GPU that do not hold up what it computes.

Each thread that draws has a stream of its own, so that one computes while another copies, and what
is copied lies in pinned memory. On a CPU nothing of this is needed and nothing is done.

Source: the PyTorch documentation's notes on CUDA semantics.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Iterator

import numpy as np
import torch
from torch import Tensor

_of_thread = threading.local()


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """What is begun within follows all that was begun on the default stream, and no other."""
    if device.type != "cuda":
        yield
        return
    stream = getattr(_of_thread, "stream", None)
    if stream is None or stream.device != device:
        stream = _of_thread.stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.default_stream(device))
    with torch.cuda.stream(stream):
        yield


def to_device(values: np.ndarray, device: torch.device) -> Tensor:
    """An array as float32 on a device; a GPU takes it while it goes on computing."""
    tensor = torch.from_numpy(values).float()
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(tensor: Tensor) -> np.ndarray:
    """A tensor as an array; of a GPU, only what this thread has begun is waited for."""
    if tensor.device.type != "cuda":
        return tensor.cpu().numpy()
    held = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    held.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    return held.numpy()
