"""How the C library treats memory that is taken and freed for every frame."""

from __future__ import annotations

import ctypes
import sys

# keys of glibc's mallopt
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_MEBIBYTE = 1 << 20


def keep_freed_memory() -> bool:
    """Have the C library keep up to a gibibyte of freed memory for the same use again.

    Every batch of frames frees and takes the same blocks; mapped anew each time they cost thousands
    of page faults a second. Memory at its peak is the same.

    Returns: False where the C library has no such setting (macOS, Windows, musl).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = {
        _MMAP_THRESHOLD: 256 * _MEBIBYTE,
        _TRIM_THRESHOLD: 1024 * _MEBIBYTE,
        _TOP_PAD: 64 * _MEBIBYTE,
    }
    return all([mallopt(key, value) for key, value in settings.items()])


def return_freed_memory() -> bool:
    """Have the C library give freed memory back to the system; False where it cannot."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return False
    trim(0)
    return True
