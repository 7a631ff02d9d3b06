"""Motion files: what is saved comes back, and what is no motion file is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.test_motion import wave
from vasa_cli import __version__
from vasa_cli.errors import InputError, ResourceError
from vasa_cli.motion_file import (
    METADATA_KEY,
    Recording,
    about,
    basis_of,
    check_basis,
    load_motion,
    save_motion,
)
from vasa_cli.weights import load_manifest


def recorded(n_frames: int = 30, fps: int = 25) -> Recording:
    return Recording(
        wave(n_frames, fps),
        basis="ab" * 32,
        source="talk.mp4",
        source_sha256="cd" * 32,
        made_by="extract",
        origin=np.arange(108.0).reshape(2, 54),
        cuts=(12,),
        filled=((3, 5),),
        notes={"seed": "3"},
    )


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    path, saved = tmp_path / "m.safetensors", recorded()
    save_motion(path, saved)
    again = load_motion(path)
    assert np.allclose(again.motion.dynamics, saved.motion.dynamics, atol=1e-6)
    assert np.allclose(again.motion.head_pose, saved.motion.head_pose, atol=1e-6)
    assert again.origin is not None and np.array_equal(again.origin, saved.origin)
    assert again.motion.fps == saved.motion.fps
    assert about(again) == about(saved)
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_broadcast_rate_comes_back_exactly(tmp_path: Path) -> None:
    motion = replace(wave(5), fps=Fraction(30000, 1001))
    save_motion(tmp_path / "m.safetensors", Recording(motion))
    assert load_motion(tmp_path / "m.safetensors").motion.fps == Fraction(30000, 1001)


def test_any_reader_of_safetensors_finds_values_units_and_source(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_motion(path, recorded())
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    said = json.loads(header["__metadata__"][METADATA_KEY])
    assert (said["fps"], said["n_frames"], said["vasa_version"]) == ("25", 30, __version__)
    assert said["source"] == {"name": "talk.mp4", "sha256": "cd" * 32}
    assert "degrees" in said["units"]["head_pose"]
    assert load_file(path)["dynamics"].dtype == np.float32


@pytest.mark.parametrize("content", [b"", b"no motion"])
def test_what_is_no_motion_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="m.safetensors is (not a motion file|empty)"):
        load_motion(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="motion .*none.safetensors does not exist"):
        load_motion(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 99}, "format 99, and this vasa reads 1"),
        ({"fps": "0"}, "30 frames at 0 a second"),
        ({"fps": "fast"}, "fast"),
        ({"cuts": [12, 40]}, "cuts .* do not rise"),
        ({"cuts": []}, "origin is .* for 1 shots"),
        ({"filled": [1]}, "TypeError"),
        ({"source": None}, "TypeError"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    path = tmp_path / "m.safetensors"
    save_motion(path, recorded())
    said = json.dumps(about(recorded()) | change)
    save_file(load_file(path), path, metadata={METADATA_KEY: said})
    with pytest.raises(InputError, match=words):
        load_motion(path)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("dynamics", np.zeros((30, 47), np.float32), "do not fit"),
        ("dynamics", np.zeros((29, 48), np.float32), "do not fit"),
        ("head_pose", np.full((30, 6), np.nan, np.float32), "no numbers"),
        ("dynamics", np.full((30, 48), 90, np.float32), "90 standard deviations in frame 0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, name: str, value: np.ndarray, words: str
) -> None:
    path = tmp_path / "m.safetensors"
    save_motion(path, recorded())
    metadata = {METADATA_KEY: json.dumps(about(recorded()))}
    save_file(load_file(path) | {name: value}, path, metadata=metadata)
    with pytest.raises(InputError, match=words):
        load_motion(path)


def test_other_safetensors_are_refused(repository: Path) -> None:
    with pytest.raises(InputError, match="it holds other data"):
        load_motion(repository / "weights" / "geometry.safetensors")


def test_a_folder_that_is_gone_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot be written"):
        save_motion(tmp_path / "gone" / "m.safetensors", recorded())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value, seen", [(90.0, "90 standard dev"), (float("nan"), "no numbers")])
def test_what_would_be_refused_is_not_written(tmp_path: Path, value: float, seen: str) -> None:
    recording, path = recorded(), tmp_path / "wild.safetensors"
    dynamics = recording.motion.dynamics.copy()
    dynamics[7, 5] = value
    with pytest.raises(InputError, match=seen):
        save_motion(path, replace(recording, motion=replace(recording.motion, dynamics=dynamics)))
    assert not list(tmp_path.iterdir())


def test_dynamics_of_another_basis_are_refused(repository: Path) -> None:
    basis = basis_of(repository / "weights")
    assert basis == load_manifest(repository / "weights").files["geometry"].sha256
    check_basis(replace(recorded(), basis=basis), Path("m.safetensors"), basis)
    check_basis(replace(recorded(), basis=""), Path("m.safetensors"), basis)
    with pytest.raises(InputError, match="m.safetensors was made with other geometry weights"):
        check_basis(recorded(), Path("m.safetensors"), basis)
