"""`vasa render`: what it hands to the library, what it prints, and what it refuses beforehand."""

from __future__ import annotations

import dataclasses
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LibraryCall, run_vasa as run
from vasa_cli.config import RenderOptions, RenderResult
from vasa_cli.timeline import load_timeline


def test_without_options_the_defaults_reach_the_library(
    call: LibraryCall, files: tuple[Path, Path]
) -> None:
    photo, speech = files
    assert run("render", photo, speech).exit_code == 0
    assert call.loaded == {"weights_dir": None, "device": "auto"}
    assert (call.photo, call.speech) == (photo, speech)
    assert call.output == speech.with_suffix(".mp4")
    assert call.options == RenderOptions()
    assert call.progress is None  # the runner's stderr is no terminal


OPTIONS: list[tuple[list[str], str, Any]] = [
    (["--size", "256"], "size", 256),
    (["--fps", "30"], "fps", Fraction(30)),
    (["--frame", "photo"], "frame", "photo"),
    (["--seed", "7"], "seed", 7),
    (["--crf", "0"], "crf", 0),
    (["--preview", "1.5"], "preview_s", 1.5),
    (["--face-box", "10,20.5,110,140"], "face_box", (10.0, 20.5, 110.0, 140.0)),
    (["--face", "2"], "face", 2),
    (["--steps", "25"], "num_steps", 25),
    (["--guidance-audio", "0"], "guidance_audio", 0.0),
    (["--guidance-gaze", "2"], "guidance_gaze", 2.0),
    (["--motion", __file__], "motion", Path(__file__)),
    (["--gaze", "10,-5"], "gaze", (10.0, -5.0)),
    (["--gaze", "-10,5"], "gaze", (-10.0, 5.0)),
    (["--gaze", "left"], "gaze", (-20.0, 0.0)),
    (["--gaze-wander", "0"], "gaze_wander", 0.0),
    (["--distance", "0.8"], "distance", 0.8),
    (["--emotion", "happy:0.4,sad:0.3"], "emotion", (("happy", 0.4), ("sad", 0.3))),
    (["--pose", "1,2,3"], "pose", (1.0, 2.0, 3.0)),
    (["--pose-offset", "-1,0,4"], "pose_offset", (-1.0, 0.0, 4.0)),
    (["--head-motion", "0.5"], "head_motion", 0.5),
    (["--expression", "1.5"], "expression", 1.5),
    (["--blink", "0"], "blink", 0.0),
    (["--still"], "still", True),
    (["--no-watermark"], "watermark", False),
    (["--provenance", "off"], "provenance", "off"),
    (["--label", "AI-generated"], "label", "AI-generated"),
    (["--force"], "force", True),
    (["-f"], "force", True),
]


@pytest.mark.parametrize(("arguments", "field", "value"), OPTIONS)
def test_each_option_sets_its_field_and_no_other(
    call: LibraryCall, files: tuple[Path, Path], arguments: list[str], field: str, value: Any
) -> None:
    assert run("render", *files, *arguments).exit_code == 0
    assert call.options == dataclasses.replace(RenderOptions(), **{field: value})
    assert type(getattr(call.options, field)) is type(value)


def test_every_field_of_the_options_can_be_set() -> None:
    # see the tests below
    signature = {"certificate", "private_key", "ingredient", "timeline"}
    assert {field for _, field, _ in OPTIONS} | signature == {
        field.name for field in dataclasses.fields(RenderOptions)
    }


def test_certificate_key_and_ingredient_reach_the_library(
    call: LibraryCall, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[RenderOptions] = []
    monkeypatch.setattr("vasa_cli.provenance.find_key", seen.append)
    assert run("render", *files, "--cert", "a.pem", "--key", "b.key", "--ingredient").exit_code == 0
    expected = RenderOptions(certificate=Path("a.pem"), private_key=Path("b.key"), ingredient=True)
    assert call.options == expected
    assert seen == [expected]  # looked at before torch loads


def test_a_timeline_is_read_before_the_library_loads(
    call: LibraryCall, files: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "controls.json"
    path.write_text('{"gaze": [{"time": 2.0, "value": "left"}]}')
    assert run("render", *files, "--timeline", path).exit_code == 0
    assert call.options == RenderOptions(timeline=load_timeline(path))
    call.loaded = None
    path.write_text('{"gaze": [{"time": 2.0, "value": "away"}]}')
    result = run("render", *files, "--timeline", path, "--force")
    assert (result.exit_code, call.loaded) == (3, None)
    assert "gaze at 2 s: 'away' cannot be read" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["--label", ""], 2, "the label is empty"),
        (["--label", "two\nlines"], 2, "line breaks"),
        (["--cert", "a.pem"], 2, "--cert and --key belong together"),
        (["--provenance", "off", "--ingredient"], 2, "need a signature"),
        (["--provenance", "maybe"], 2, "'maybe' is not one of"),
        (["--provenance", "required"], 6, "run `"),
    ],
)
def test_marks_that_cannot_be_made_are_told_before_the_work(
    call: LibraryCall,
    files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    exit_code: int,
    words: str,
) -> None:
    monkeypatch.setenv("VASA_KEYS", str(tmp_path / "no-keys"))
    result = run("render", *files, *arguments)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert words in result.stderr
    assert call.loaded is None


def test_the_result_says_which_marks_the_video_bears() -> None:
    from vasa_cli.cli.render import result_line

    result = RenderResult(Path("a.mp4"), 50, Fraction(25), 64, 64, 2.0, 4.0, 5, "cpu", "ab")
    signed = dataclasses.replace(result, provenance="signed by Acme")
    assert result_line(signed) == (
        "a.mp4: 2.00 s at 25 fps, seed 5; signed by Acme (rendered in 4.0 s on cpu)"
    )


def test_device_weights_and_output_reach_the_library(
    call: LibraryCall, files: tuple[Path, Path], tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    run("render", *files, "-o", output, "--device", "cpu", "--weights-dir", tmp_path)
    assert call.loaded == {"weights_dir": tmp_path, "device": "cpu"}
    assert call.output == output


@pytest.mark.parametrize(
    ("speech", "output"),
    [("a.wav", "a.mp4"), ("talk.v2.ogg", "talk.v2.mp4"), ("a.MP4", "a-vasa.mp4"), ("a", "a.mp4")],
)
def test_the_output_lies_beside_the_sound(
    call: LibraryCall, files: tuple[Path, Path], tmp_path: Path, speech: str, output: str
) -> None:
    sound = tmp_path / "sub" / speech
    sound.parent.mkdir()
    sound.write_bytes(b"sound")
    run("render", files[0], sound)
    assert call.output == tmp_path / "sub" / output


@pytest.mark.parametrize(
    ("text", "fps"),
    [
        ("25", Fraction(25)),
        ("12.5", Fraction(25, 2)),
        ("23.976", Fraction(24000, 1001)),
        ("23.98", Fraction(24000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        ("59.94", Fraction(60000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
    ],
)
def test_frame_rates_are_exact(
    call: LibraryCall, files: tuple[Path, Path], text: str, fps: Fraction
) -> None:
    run("render", *files, "--fps", text)
    assert call.options is not None and call.options.fps == fps


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "127"], "127 is not in the range 128<=x<=1024"),
        (["--size", "big"], "not a valid integer"),
        (["--fps", "0"], "0 is not in the range 1 to 120"),
        (["--fps", "1/0"], "no frame rate; give 25, 29.97 or 30000/1001"),
        (["--fps", "nan"], "no frame rate"),
        (["--fps", "25.1234567"], "too many digits"),
        (["--frame", "body"], "'body' is not one of"),
        (["--device", "tpu"], "'tpu' is not one of"),
        (["--seed", "-1"], "-1 is not in the range"),
        (["--crf", "52"], "52 is not in the range 0<=x<=51"),
        (["--preview", "0"], "0.0 is not in the range x>=0.2"),
        (["--preview", "nan"], "nan is no finite number"),
        (["--face-box", "1,2,3"], "no box; give four numbers as 120,80,360,320"),
        (["--face-box", "5,5,5,9"], "is empty"),
        (["--face-box", "0,0,inf,9"], "is empty"),
        (["--face", "0"], "0 is not in the range x>=1"),
        (["--face", "1", "--face-box", "1,1,9,9"], "give one of them"),
        (["--motion", "m", "--seed", "1", "--steps", "9"], "--motion --seed, --steps would change"),
        (["--steps", "0"], "0 is not in the range x>=1"),
        (["--guidance-audio", "inf"], "inf is no finite number"),
        (["--gaze", "60,0"], "yaw 60 is not in the range -40 to 40"),
        (["--gaze", "away"], "give two angles as 10,-5"),
        (["--distance", "3"], "3 is not in the range 0.5 to 2"),
        (["--emotion", "glad"], "'glad' is no emotion; choose from neutral"),
        (["--pose", "0,40,0"], "pitch 40 is not in the range -30 to 30"),
        (["--blink", "nan"], "nan is not in the range 0 to 3"),
    ],
)
def test_values_out_of_range_are_misuse(
    call: LibraryCall, files: tuple[Path, Path], arguments: list[str], words: str
) -> None:
    result = run("render", *files, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert call.loaded is None


def test_the_result_is_one_line_on_stdout(call: LibraryCall, files: tuple[Path, Path]) -> None:
    result = run("render", *files, "--fps", "29.97", "--seed", "5")
    path = files[1].with_suffix(".mp4")
    expected = f"{path}: 2.00 s at 29.97 fps, seed 5 (rendered in 4.0 s on cpu)\n"
    assert (result.stdout, result.stderr) == (expected, "")


def test_json_is_one_object_on_stdout(call: LibraryCall, files: tuple[Path, Path]) -> None:
    call.warnings = ("small face",)
    result = run("render", *files, "--json")
    assert result.stdout.count("\n") == 1
    printed = json.loads(result.stdout)
    assert set(printed) == {field.name for field in dataclasses.fields(RenderResult)} | {
        "render_fps"
    }
    assert printed["output"] == str(files[1].with_suffix(".mp4"))
    assert (printed["fps"], printed["seed"], printed["render_fps"]) == (25.0, 0, 12.5)
    assert printed["warnings"] == ["small face"]


def test_warnings_go_to_stderr_unless_quiet(call: LibraryCall, files: tuple[Path, Path]) -> None:
    call.warnings = ("small face", "turned head")
    assert run("render", *files).stderr == "warning: small face\nwarning: turned head\n"
    quiet = run("render", *files, "--quiet")
    assert quiet.stderr == ""
    assert quiet.stdout.endswith("on cpu)\n")


def test_missing_inputs_are_all_named_at_once(call: LibraryCall, tmp_path: Path) -> None:
    result = run("render", tmp_path / "a.png", tmp_path / "b.wav", "-o", tmp_path / "c.avi")
    assert (result.exit_code, result.stdout) == (3, "")
    assert len(result.stderr.splitlines()) == 1
    for words in ("a.png does not exist", "b.wav does not exist", "c.avi ends in .avi"):
        assert words in result.stderr
    assert call.loaded is None


def test_an_output_that_exists_needs_force(call: LibraryCall, files: tuple[Path, Path]) -> None:
    output = files[1].with_suffix(".mp4")
    output.write_bytes(b"precious")
    result = run("render", *files)
    assert (result.exit_code, call.loaded) == (2, None)
    assert "exists; give --force" in result.stderr
    assert run("render", *files, "--force").exit_code == 0


@pytest.mark.parametrize("index", [0, 1])
def test_an_input_is_never_the_output(
    call: LibraryCall, files: tuple[Path, Path], index: int
) -> None:
    link = files[index].with_suffix(".mp4")
    os.link(files[index], link)
    inputs = list(files)
    inputs[index] = link
    result = run("render", *inputs, "-o", link, "--force")
    assert (result.exit_code, call.loaded) == (2, None)
    assert "is also an input" in result.stderr
