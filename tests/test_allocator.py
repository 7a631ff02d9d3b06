"""Freed memory is kept for the next batch of frames."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vasa_cli import allocator

FAULTS = """
import resource, sys
import numpy as np
from vasa_cli.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(1 << 22)
before = faults()
for _ in range(20):
    np.ones(1 << 22)
print(faults() - before)
"""


def faults(how: str) -> int:
    # the user's own settings of the allocator would decide instead
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    ran = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True, env=plain
    )
    return int(ran.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_blocks_that_come_again_cost_no_page_faults() -> None:
    if not allocator.keep_freed_memory():
        pytest.skip("this C library has no mallopt")
    assert faults("keep") < faults("leave") / 4


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert not allocator.keep_freed_memory() and not allocator.return_freed_memory()
