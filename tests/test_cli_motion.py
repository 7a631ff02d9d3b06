"""`vasa motion`: the commands that show and edit motion files."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import run_vasa as run
from tests.test_motion_file import recorded
from vasa_cli.motion_file import load_motion, save_motion


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    save_motion(tmp_path / "talk.safetensors", recorded())
    return tmp_path / "talk.safetensors"


def test_info_says_what_it_is_of(talk: Path) -> None:
    lines = run("motion", "info", talk).stdout.splitlines()
    assert lines[0] == f"{talk}: 30 frames, 1.20 s at 25 fps"
    assert "made by: extract" in lines
    assert "source: talk.mp4 (SHA-256 cdcdcdcdcdcd)" in lines
    assert "shots: 2" in lines and "filled frames: 3-5" in lines and "seed: 3" in lines
    assert "yaw -1.0 to +1.0" in lines[3]


def test_info_as_json_has_all_metadata(talk: Path) -> None:
    said = json.loads(run("motion", "info", talk, "--json").stdout)
    assert (said["fps"], said["n_frames"], said["cuts"]) == ("25", 30, [12])


def test_cut_join_and_resample_write_what_they_say(talk: Path, tmp_path: Path) -> None:
    part, both, fast = (tmp_path / f"{name}.safetensors" for name in ("part", "both", "fast"))
    result = run("motion", "cut", talk, "--from", 0.2, "--to", 0.8, "-o", part)
    assert (result.exit_code, result.stdout) == (0, f"{part}: 15 frames, 0.60 s at 25 fps\n")
    assert run("motion", "join", talk, part, "--blend", 0.2, "-o", both).exit_code == 0
    assert len(load_motion(both).motion) == 30 + 15 - 5
    assert run("motion", "resample", both, "--fps", "29.97", "-o", fast).exit_code == 0
    assert load_motion(fast).motion.fps == Fraction(30000, 1001)


def test_mix_and_smooth_write_what_they_say(talk: Path, tmp_path: Path) -> None:
    still = recorded(50)
    still.motion.head_pose[:] = 7.0
    still.motion.head_pose[::2] += 0.2
    save_motion(tmp_path / "other.safetensors", replace(still, basis="", origin=None, cuts=()))
    save_motion(talk, replace(recorded(), basis=""))
    out, calm = tmp_path / "out.safetensors", tmp_path / "calm.safetensors"
    result = run("motion", "mix", talk, tmp_path / "other.safetensors", "--take", "head", "-o", out)
    assert result.exit_code == 0
    found = load_motion(out).motion
    assert len(found) == 30 and found.head_pose.min() == 7
    assert np.allclose(found.dynamics, recorded().motion.dynamics, atol=1e-6)
    longer = [
        "motion",
        "mix",
        tmp_path / "other.safetensors",
        talk,
        "--take",
        "lips",
        "-f",
        "-o",
        out,
    ]
    assert run(*longer).exit_code == 2
    assert run(*longer, "--fit", "stretch").exit_code == 0
    assert len(load_motion(out).motion) == 50
    assert run("motion", "smooth", tmp_path / "other.safetensors", "-o", calm).exit_code == 0
    assert np.ptp(load_motion(calm).motion.head_pose[5:-5, 0]) < 0.1


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["cut", "TALK", "--from", "2", "-o", "OUT"], 2, "2 to 1.2 s is no part of"),
        (["cut", "TALK", "--to", "3", "-o", "OUT"], 2, "which lasts 1.20 s"),
        (["cut", "TALK", "-o", "OUT.mp4"], 2, "vasa writes motion as safetensors"),
        (["cut", "TALK", "-o", "TALK", "-f"], 2, "is also an input"),
        (["join", "TALK", "NONE", "-o", "OUT"], 3, "does not exist"),
        (["join", "TALK", "TALK", "--blend", "1", "-o", "OUT"], 2, "too long"),
        (["resample", "TALK", "--fps", "0", "-o", "OUT"], 2, "not in the range"),
        (["info", "NONE"], 3, "does not exist"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    talk: Path, tmp_path: Path, arguments: list[str], exit_code: int, words: str
) -> None:
    names = {"TALK": talk, "NONE": tmp_path / "none.safetensors"}
    names |= {"OUT": tmp_path / "out.safetensors", "OUT.mp4": tmp_path / "out.mp4"}
    result = run("motion", *(names.get(word, word) for word in arguments))
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert words in " ".join(result.stderr.split())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["talk.safetensors"]


def test_an_output_that_exists_needs_force(talk: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"kept")
    assert run("motion", "cut", talk, "-o", out).exit_code == 2
    assert out.read_bytes() == b"kept"
    assert run("motion", "cut", talk, "-o", out, "--force").exit_code == 0
    assert len(load_motion(out).motion) == 30
