"""How many cores there are for this process."""

from __future__ import annotations

import os
from pathlib import Path

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Cores that this process may use: those it is bound to, as far as its container pays for them.

    Kubernetes and docker bind no process to cores: they stop it when all its threads together have
    had their share of time, so that more threads than that fight each other.
    """
    if hasattr(os, "sched_getaffinity"):
        bound = len(os.sched_getaffinity(0))
    else:
        bound = os.cpu_count() or 1
    return max(1, int(min(bound, quota_cores())))


def keep_blas_on_one_core() -> None:
    """Have NumPy's BLAS, once it is loaded, compute on one core, unless the user says otherwise.

    Its threads wait for their next small product in a loop, each on a core that others need.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def quota_cores(groups: Path = _CONTROL_GROUPS, own: Path = _OWN_GROUP) -> float:
    """Cores' worth of time that Linux's control groups allow; inf where they set no limit.

    Args:
        groups: where they are mounted, of version 2 or 1.
        own: the file that names the group of this process.
    """
    version_1 = groups / "cpu"
    limits = [_ratio(*(_read(version_1 / f"cpu.cfs_{name}_us") for name in ("quota", "period")))]
    for line in _read(own).splitlines():
        number, _, path = line.split(":", 2)
        if number == "0":  # version 2: a limit of any group above holds too
            group = groups / path.lstrip("/")
            above = [folder for folder in group.parents if folder.is_relative_to(groups)]
            limits += [_ratio(*_read(each / "cpu.max").split()) for each in (group, *above)]
    return min(limits)


def _ratio(quota: str = "", period: str = "") -> float:
    """Microseconds of work in each period; "max", "-1" and nothing at all are no limit."""
    if not (quota.strip().isdecimal() and period.strip().isdecimal()):
        return float("inf")
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
