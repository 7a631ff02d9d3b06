"""How much memory processes and single steps take at once."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import Callable, TypeVar

import torch

from vasa_cli.allocator import return_freed_memory

Result = TypeVar("Result")
MEBIBYTE = 1 << 20
_RESET_PEAK = "5"  # what Linux is told in clear_refs to count the peak anew


def process_mb(process: str = "self", *, most: bool = True) -> float | None:
    """The most memory that a process ("self" or its number) has had, else what it has now.

    Linux tells; None elsewhere.
    """
    if sys.platform != "linux":
        return None
    field = "VmHWM" if most else "VmRSS"
    with contextlib.suppress(OSError):
        told = re.search(rf"{field}:\s*(\d+) kB", Path(f"/proc/{process}/status").read_text())
        return int(told[1]) / 1024 if told else None
    return None


def children_mb() -> list[float]:
    """The most of every process that this one has started and that still runs."""
    if sys.platform != "linux":
        return []
    found: list[float | None] = []
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            found += [process_mb(child) for child in (thread / "children").read_text().split()]
    return [peak for peak in found if peak is not None]


def with_added_mb(work: Callable[[], Result], device: torch.device) -> tuple[Result, float | None]:
    """What work gives, and the most memory it took at once beyond what there was before.

    On a GPU that of the GPU; None where the system does not tell.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = work()
        return result, (torch.cuda.max_memory_allocated(device) - before) / MEBIBYTE
    return_freed_memory()
    before_mb = process_mb(most=False) if _count_peak_anew() else None
    result = work()
    peak_mb = process_mb()
    if before_mb is None or peak_mb is None:
        return result, None
    return result, max(0.0, peak_mb - before_mb)


def _count_peak_anew() -> bool:
    """Forget the most memory this process has had; False where the system does not."""
    try:
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    except OSError:
        return False
    return True
