"""ARKit's blend shapes: the map both ways, and the CSV in the layout of Live Link Face."""

from __future__ import annotations

import csv
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Callable

import numpy as np
import pytest

from tests.conftest import run_vasa as run
from vasa_cli.arkit import (
    HEADER,
    SHAPES,
    ArkitMap,
    eye_rotations,
    gaze_dynamics,
    read_csv,
    timecode,
    write_csv,
)
from vasa_cli.errors import InputError, WeightsError
from vasa_cli.geometry import EXPLICIT, N_DYNAMICS, Geometry
from vasa_cli.loading import load_arkit, load_geometry
from vasa_cli.motion import MOUTH_OPEN, Motion
from vasa_cli.motion_file import Recording, load_motion, save_motion
from vasa_cli.training.arkit import KNOWN, TEACHER_SHAPES, fit
from vasa_cli.weights import find_weights_dir, save_weights, write_manifest


@pytest.fixture(scope="module")
def arkit() -> ArkitMap:
    return load_arkit(find_weights_dir())


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


def performing(n_frames: int = 60, fps: Fraction = Fraction(30)) -> Recording:
    """A head that turns and nods, a mouth that opens and shuts, eyes that look about."""
    t = np.arange(n_frames) / float(fps)
    head, dynamics = np.zeros((n_frames, 6)), np.zeros((n_frames, N_DYNAMICS))
    head[:, 0], head[:, 1], head[:, 2] = 20 * np.sin(t), 8 * np.cos(2 * t), 5 * np.sin(3 * t)
    dynamics[:, MOUTH_OPEN] = np.clip(2.5 * np.sin(9 * t), 0, None)
    dynamics[:, 0], dynamics[:, 1] = 2 * np.sin(2 * t), np.cos(2 * t)
    dynamics[:, EXPLICIT.index("corner_lift")] = np.sin(t)
    return Recording(Motion(head, dynamics, fps))


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def write_rows(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture
def table(tmp_path: Path, arkit: ArkitMap, geometry: Geometry) -> Path:
    write_csv(tmp_path / "take.csv", performing(), arkit, geometry)
    return tmp_path / "take.csv"


# The map


def test_the_names_are_apples() -> None:
    assert len(SHAPES) == len(set(SHAPES)) == 52
    assert len(HEADER) == 63 and HEADER[2:4] == ("EyeBlinkLeft", "EyeLookDownLeft")
    assert [name for name in SHAPES if name not in TEACHER_SHAPES] == ["TongueOut"]
    assert len(TEACHER_SHAPES) == 52 and set(TEACHER_SHAPES) - set(SHAPES) == {"_neutral"}


def test_a_linear_world_is_learned_exactly() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0, 0.02, (N_DYNAMICS, 52))
    dynamics = rng.normal(0, 1, (4000, N_DYNAMICS)) + 0.3
    learned = fit(dynamics, dynamics @ true + 0.5)
    assert np.allclose(learned.weights, true, atol=5e-4)
    assert np.allclose(learned.bias, 0.5, atol=1e-3)


def test_scores_are_those_of_the_right_side(arkit: ArkitMap) -> None:
    """Left is the person's left, which the viewer sees on the right."""

    def effect(dynamic: str, shape: str) -> float:
        return float(arkit.weights[EXPLICIT.index(dynamic), SHAPES.index(shape)])

    assert effect("mouth_open", "JawOpen") > 0.02
    assert effect("lid_right", "EyeBlinkLeft") < 1.2 * effect("lid_right", "EyeBlinkRight") < 0
    assert effect("lid_left", "EyeBlinkRight") < 1.2 * effect("lid_left", "EyeBlinkLeft") < 0
    assert effect("gaze_yaw", "EyeLookOutLeft") > 0 > effect("gaze_yaw", "EyeLookInLeft")
    assert effect("gaze_pitch", "EyeLookUpLeft") > 0 > effect("gaze_pitch", "EyeLookDownLeft")
    assert effect("brow_height", "BrowOuterUpLeft") > 0 > effect("brow_height", "BrowDownLeft")
    assert effect("corner_lift", "MouthSmileRight") > 0


def test_scores_stay_between_0_and_1(arkit: ArkitMap) -> None:
    wild = np.random.default_rng(1).normal(0, 9, (200, N_DYNAMICS))
    scores = arkit.scores(wild)
    assert scores.min() == 0 and scores.max() == 1
    assert not scores[:, SHAPES.index("TongueOut")].any()


def test_dynamics_behind_scores_give_the_scores_again(arkit: ArkitMap) -> None:
    scores = arkit.scores(np.random.default_rng(2).normal(0, 0.8, (300, N_DYNAMICS)))
    again = arkit.scores(arkit.dynamics(scores))
    assert np.abs(again - scores)[:, KNOWN].mean() < 0.03


def test_the_map_must_be_of_the_same_geometry(tmp_path: Path) -> None:
    import torch

    for name in ("geometry", "arkit"):
        tensors = {
            "weights": torch.zeros(48, 52),
            "bias": torch.zeros(52),
            "noise": torch.zeros(52),
        }
        save_weights(tmp_path / f"{name}.safetensors", tensors, name=name, dims={"basis": "other"})
    origins = {"geometry": "made up", "arkit": "made up"}
    write_manifest(tmp_path, version="0", licence="Apache-2.0", origins=origins)
    with pytest.raises(WeightsError, match="learned with another geometry"):
        load_arkit(tmp_path)


def test_eyes_turn_there_and_back(geometry: Geometry) -> None:
    dynamics = np.zeros((5, N_DYNAMICS))
    dynamics[:, 0], dynamics[:, 1] = np.linspace(-4, 4, 5), np.linspace(2, -3, 5)
    turned = eye_rotations(dynamics, geometry)
    assert (np.diff(turned[:, 0]) > 0).all() and (np.diff(turned[:, 1]) < 0).all()
    assert 5 < turned[-1, 0] < 25 and np.allclose(turned[2], [0, -0.5 * 3.3], atol=1.5)
    assert np.allclose(gaze_dynamics(turned, geometry), dynamics[:, :2])


# The file


def test_the_layout_is_live_link_faces(table: Path) -> None:
    header, *rows = rows_of(table)
    assert tuple(header) == HEADER
    assert len(rows) == 60 and all(len(row) == 63 and row[1] == "61" for row in rows)
    assert [rows[k][0] for k in (0, 29, 30)] == [
        "00:00:00:00.000",
        "00:00:00:29.000",
        "00:00:01:00.000",
    ]
    yaw = np.array([float(row[HEADER.index("HeadYaw")]) for row in rows])
    pitch = np.array([float(row[HEADER.index("HeadPitch")]) for row in rows])
    assert np.allclose(yaw, np.radians(performing().motion.head_pose[:, 0]), atol=1e-6)
    assert np.allclose(pitch, -np.radians(performing().motion.head_pose[:, 1]), atol=1e-6)


def test_a_motion_comes_back_from_its_csv(table: Path, arkit: ArkitMap, geometry: Geometry) -> None:
    sent, back = performing().motion, read_csv(table, arkit, geometry).motion
    assert back.fps == 30 and len(back) == 60
    assert np.abs(back.head_pose[:, :3] - sent.head_pose[:, :3]).max() < 1e-4
    assert np.abs(back.dynamics[:, :2] - sent.dynamics[:, :2]).max() < 1e-4
    mouth = [m.dynamics[:, MOUTH_OPEN] for m in (sent, back)]
    assert np.corrcoef(*mouth)[0, 1] > 0.97
    assert 0.7 < mouth[1].max() / mouth[0].max() < 1.3


def test_a_csv_comes_back_from_its_motion(
    table: Path, arkit: ArkitMap, geometry: Geometry, tmp_path: Path
) -> None:
    write_csv(tmp_path / "again.csv", read_csv(table, arkit, geometry), arkit, geometry)
    first, second = (
        np.array([row[2:] for row in rows_of(path)[1:]], float)
        for path in (table, tmp_path / "again.csv")
    )
    assert np.abs(first - second)[:, :52].mean() < 0.02
    assert np.abs(first - second)[:, 52:].max() < 1e-6


def test_rest_that_is_known_is_counted_in(
    arkit: ArkitMap, geometry: Geometry, tmp_path: Path
) -> None:
    origin = np.zeros((1, 54))
    origin[0, 0] = 12.0
    origin[0, 6 + EXPLICIT.index("corner_lift")] = 1.5
    write_csv(tmp_path / "a.csv", replace(performing(), origin=origin), arkit, geometry)
    write_csv(tmp_path / "b.csv", performing(), arkit, geometry)
    a, b = (np.array(rows_of(tmp_path / f"{n}.csv")[1][2:], float) for n in "ab")
    smile, yaw = SHAPES.index("MouthSmileLeft"), 52
    assert a[smile] > b[smile] and a[yaw] - b[yaw] == pytest.approx(np.radians(12), abs=1e-6)


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(60), Fraction(30000, 1001)])
def test_rates_are_told_or_given(
    fps: Fraction, tmp_path: Path, arkit: ArkitMap, geometry: Geometry
) -> None:
    write_csv(tmp_path / "a.csv", performing(200, fps), arkit, geometry)
    given = read_csv(tmp_path / "a.csv", arkit, geometry, fps=fps).motion
    told = read_csv(tmp_path / "a.csv", arkit, geometry).motion
    assert (given.fps, len(given), len(told)) == (fps, 200, 200)
    assert told.fps == round(fps)


def test_columns_are_found_by_name_and_lost_rows_are_filled(
    table: Path, arkit: ArkitMap, geometry: Geometry, tmp_path: Path
) -> None:
    header, *rows = rows_of(table)
    order = np.random.default_rng(0).permutation(63)
    kept = [row for k, row in enumerate(rows) if k not in (20, 21)]
    shuffled = [[row[k] for k in order] for row in ([n[:1].lower() + n[1:] for n in header], *kept)]
    shuffled.insert(5, ["00:00:00:04.500", "0"])  # the app's row while it sees no face
    path = write_rows(tmp_path / "shuffled.csv", shuffled)
    whole, found = read_csv(table, arkit, geometry), read_csv(path, arkit, geometry)
    assert len(found.motion) == 60
    error = np.abs(found.motion.head_pose - whole.motion.head_pose)[:, :3]
    assert error.max() < 0.3 and error[30:].max() < 1e-6


def spoil_number(rows: list[list[str]]) -> None:
    rows[5][10] = "much"


def spoil_nan(rows: list[list[str]]) -> None:
    rows[5][10] = "nan"


def spoil_time(rows: list[list[str]]) -> None:
    rows[5][0] = "soon"


def spoil_order(rows: list[list[str]]) -> None:
    rows[5], rows[6] = rows[6], rows[5]


def spoil_header(rows: list[list[str]]) -> None:
    rows[0] = ["a"] * 63


def spoil_all(rows: list[list[str]]) -> None:
    del rows[1:]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_number, "column EyeWideLeft|column .* holds what is no number: .*much"),
        (spoil_nan, "holds what is no number"),
        (spoil_time, "'soon' in .* is no timecode"),
        (spoil_order, "timecodes of .* do not rise"),
        (spoil_header, "is not a CSV of blend shapes"),
        (spoil_all, "has no row of values"),
    ],
)
def test_a_spoiled_csv_is_told(
    table: Path,
    arkit: ArkitMap,
    geometry: Geometry,
    tmp_path: Path,
    spoil: Callable[[list[list[str]]], None],
    words: str,
) -> None:
    rows = rows_of(table)
    spoil(rows)
    with pytest.raises(InputError, match=words):
        read_csv(write_rows(tmp_path / "spoiled.csv", rows), arkit, geometry)


def test_what_is_no_text_is_refused(arkit: ArkitMap, geometry: Geometry, tmp_path: Path) -> None:
    (tmp_path / "picture.csv").write_bytes(bytes(range(128, 256)))
    with pytest.raises(InputError, match="is not a CSV of blend shapes"):
        read_csv(tmp_path / "picture.csv", arkit, geometry)


def test_timecodes_count_hours() -> None:
    assert timecode(3600 * 30 + 61 * 30 + 7, Fraction(30)) == "01:01:01:07.000"


# The commands


def test_export_and_import(tmp_path: Path) -> None:
    motion, table, back = (tmp_path / n for n in ("m.safetensors", "m.csv", "back.safetensors"))
    save_motion(motion, performing())
    result = run("motion", "export", motion, "-o", table)
    assert (result.exit_code, result.stdout) == (0, f"{table}: 60 frames, 2.00 s at 30 fps\n")
    assert run("motion", "import", table, "-o", back).exit_code == 0
    found = load_motion(back)
    assert (found.source, found.made_by) == ("m.csv", "motion import")
    assert len(found.source_sha256) == len(found.basis) == 64
    assert np.abs(found.motion.head_pose - performing().motion.head_pose).max() < 1e-4
    other = tmp_path / "other.safetensors"
    assert run("motion", "import", table, "--fps", "29.97", "-o", other).exit_code == 0
    assert load_motion(other).motion.fps == Fraction(30000, 1001)
    result = run("motion", "import", table, "--fps", 15, "-f", "-o", other)
    assert result.exit_code == 2 and "count 30 frames a second, and --fps says 15" in result.stderr


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    result = run("motion", "import", tmp_path / "a.csv", "-o", tmp_path / "m.safetensors")
    assert result.exit_code == 3 and "is not a CSV of blend shapes" in result.stderr
    foreign = tmp_path / "foreign.safetensors"
    save_motion(foreign, replace(performing(), basis="ef" * 32))
    result = run("motion", "export", foreign, "-o", tmp_path / "m.csv")
    assert result.exit_code == 3 and "other geometry weights" in result.stderr
    assert len(list(tmp_path.iterdir())) == 2
