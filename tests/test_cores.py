"""Cores that a process may use, by what it is bound to and by its container's limit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vasa_cli import cores
from vasa_cli.cores import keep_blas_on_one_core, quota_cores, usable_cores

INF = float("inf")


def group(folder: Path, limit: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(f"{limit}\n")


@pytest.mark.parametrize(
    ("limit", "allowed"), [("400000 100000", 4), ("150000 100000", 1.5), ("max 100000", INF)]
)
def test_a_containers_limit_is_its_quota_over_its_period(
    tmp_path: Path, limit: str, allowed: float
) -> None:
    group(tmp_path, limit)
    (tmp_path / "own").write_text("0::/\n")
    assert quota_cores(tmp_path, tmp_path / "own") == allowed


def test_the_least_limit_of_all_groups_above_holds(tmp_path: Path) -> None:
    group(tmp_path / "a", "300000 100000")
    group(tmp_path / "a" / "b", "800000 100000")
    group(tmp_path / "other", "100000 100000")
    (tmp_path / "own").write_text("12:cpuset:/x\n0::/a/b\n")
    assert quota_cores(tmp_path, tmp_path / "own") == 3


@pytest.mark.parametrize(("quota", "allowed"), [("250000", 2.5), ("-1", INF)])
def test_version_1_is_read_too(tmp_path: Path, quota: str, allowed: float) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert quota_cores(tmp_path, tmp_path / "none") == allowed


def test_a_system_without_groups_sets_no_limit(tmp_path: Path) -> None:
    assert quota_cores(tmp_path, tmp_path / "own") == INF


@pytest.mark.parametrize(("quota", "usable"), [(INF, 8), (3.9, 3), (0.5, 1), (64.0, 8)])
def test_cores_are_those_bound_to_and_allowed(
    monkeypatch: pytest.MonkeyPatch, quota: float, usable: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "quota_cores", lambda: quota)
    assert usable_cores() == usable


def test_blas_is_kept_on_one_core_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    keep_blas_on_one_core()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    keep_blas_on_one_core()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"


def test_the_command_speaks_to_blas_before_anything_imports_it() -> None:
    asked = "import sys, vasa_cli.cli.main; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", asked], check=True)
