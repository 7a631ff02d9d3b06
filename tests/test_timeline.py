"""Timelines and the values of controls: what is read, what is refused, and in which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import run_vasa as run
from vasa_cli.config import Controls, RenderOptions
from vasa_cli.control_values import GAZES, READERS
from vasa_cli.errors import InputError, UsageError
from vasa_cli.timeline import EASES, Keyframe, Timeline, json_schema, parse_timeline


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("gaze", "10,-5", (10.0, -5.0)),
        ("gaze", [10, -5], (10.0, -5.0)),
        ("gaze", "left", GAZES["left"]),
        ("pose", "1, 2,3", (1.0, 2.0, 3.0)),
        ("emotion", "happy", (("happy", 1.0),)),
        ("emotion", "surprised:0.3,happy:0.4", (("happy", 0.4), ("surprised", 0.3))),
        ("emotion", {"sad": 0.5}, (("sad", 0.5),)),
        ("emotion", "neutral:0", ()),
        ("distance", "0.8", 0.8),
        ("still", "true", True),
    ],
)
def test_values_are_read_as_they_are_typed(name: str, given: Any, value: Any) -> None:
    assert READERS[name](given) == value
    assert READERS[name](value) == value  # what was read can be read again


@pytest.mark.parametrize(
    ("field", "given", "words"),
    [
        ("gaze", "41,0", "gaze yaw 41 is not in the range -40 to 40"),
        ("gaze", "0,-31", "gaze pitch -31 is not in the range -30 to 30"),
        ("gaze", "away", "give two angles as 10,-5, or one of camera, left"),
        ("gaze", "nan,0", "yaw nan is not in the range"),
        ("pose", "0,0,46", "pose roll 46 is not in the range -45 to 45"),
        ("pose_offset", "1,2", "give three angles"),
        ("distance", 0.4, "distance 0.4 is not in the range 0.5 to 2"),
        ("emotion", "glad", "'glad' is no emotion; choose from neutral, happy"),
        ("emotion", "happy:2", "happy 2 is not in the range 0 to 1"),
        ("emotion", "happy:0.8,sad:0.8", "the strengths add up to 1.6; together they go from 0"),
        ("emotion", "happy,happy", "happy stands twice"),
        ("head_motion", 3.5, "head_motion 3.5 is not in the range 0 to 3"),
        ("expression", "much", "expression 'much' is no number"),
        ("blink", -1, "blink -1 is not in the range 0 to 3"),
        ("gaze_wander", True, "gaze_wander True is no number"),
        ("still", "maybe", "neither true nor false"),
    ],
)
def test_values_out_of_range_are_refused_with_the_range(field: str, given: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        Controls(**{field: given})
    assert words in str(caught.value)


def test_options_know_whether_a_control_was_asked_for() -> None:
    assert not RenderOptions(size=256, seed=4).asked
    assert RenderOptions(blink=0).asked and RenderOptions(gaze="camera").asked


def timeline(**tracks: Any) -> bytes:
    return json.dumps({name.replace("_", "-"): keys for name, keys in tracks.items()}).encode()


def test_a_timeline_is_read_by_control() -> None:
    content = timeline(
        gaze=[{"time": 2, "value": "left", "ease": "step"}],
        head_motion=[{"time": 0, "value": 1}, {"time": 1.5, "value": 0}],
    )
    read = parse_timeline(content, source="a.json")
    assert read.track("gaze") == (Keyframe(2.0, GAZES["left"], "step"),)
    assert read.track("head_motion")[1] == Keyframe(1.5, 0.0, EASES[0])
    assert read.track("blink") == () and read.end_s == 2.0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is no valid JSON"),
        (b"[]", "is no JSON object"),
        (b"{}", "it names no control"),
        (b'{"gaze": [], "gaze": []}', "gaze stands twice"),
        (timeline(smile=[]), "unknown control 'smile'; known are gaze, gaze-wander"),
        (timeline(gaze=[]), "gaze is no list of keyframes"),
        (timeline(gaze=[{"time": 1}]), "keyframe 1 of gaze lacks time or value"),
        (timeline(gaze=[{"time": 1, "value": "up", "eas": "in"}]), "has unknown 'eas'"),
        (timeline(gaze=[{"time": 2.5, "value": [80, 0]}]), "gaze at 2.5 s: yaw 80 is not in"),
        (timeline(blink=[{"time": -1, "value": 1}]), "blink at -1: the time is not in the range"),
        (timeline(blink=[{"time": 1, "value": 1, "ease": "hop"}]), "blink at 1 s: ease 'hop'"),
        (timeline(blink=[{"time": 1, "value": None}]), "blink at 1 s: null lets go of gaze or"),
        (
            timeline(pose_offset=[{"time": 2, "value": [0] * 3}, {"time": 2, "value": [1] * 3}]),
            "pose-offset at 2 s stands after 2 s",
        ),
    ],
)
def test_faults_of_a_timeline_name_control_and_time(content: bytes, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_timeline(content, source="a.json")
    assert str(caught.value).startswith("timeline a.json") and words in str(caught.value)


def test_all_faults_of_a_timeline_are_told_at_once() -> None:
    content = timeline(smile=[], blink=[{"time": 1, "value": 9}], gaze=[{"time": 2, "value": "x"}])
    with pytest.raises(InputError, match="unknown control.*blink at 1 s.*gaze at 2 s"):
        parse_timeline(content, source="a.json")


def test_a_timeline_made_in_python_is_checked_too() -> None:
    with pytest.raises(ValueError, match="gaze at 1 s: yaw 90"):
        Timeline((("gaze", (Keyframe(1.0, (90.0, 0.0)),)),))


def test_options_read_a_timeline_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(timeline(blink=[{"time": 1, "value": 0}]))
    assert RenderOptions(timeline=path).timeline == parse_timeline(path.read_bytes(), source="t")
    with pytest.raises(InputError, match="none.json cannot be read"):
        RenderOptions(timeline=tmp_path / "none.json")


def test_check_says_what_a_timeline_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(timeline(gaze=[{"time": 2, "value": "left"}], blink=[{"time": 3, "value": 0}]))
    result = run("timeline", "check", path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{path}: keyframes of gaze (1), blink (1); the last at 3 s\n"
    printed = json.loads(run("timeline", "check", path, "--json").stdout)
    assert printed["keyframes"] == {"gaze": 1, "blink": 1} and printed["end_s"] == 3.0


def test_check_refuses_what_is_wrong_with_3(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(timeline(distance=[{"time": 2, "value": 9}]))
    result = run("timeline", "check", path)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "distance at 2 s: 9 is not in the range 0.5 to 2" in result.stderr


def test_check_warns_of_keyframes_after_the_speech(repository: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(timeline(blink=[{"time": 1, "value": 0}, {"time": 60, "value": 1}]))
    result = run("timeline", "check", path, "--speech", repository / "examples" / "speech.wav")
    assert result.exit_code == 0
    assert "warning: blink at 60 s comes after the end of speech.wav" in result.stderr
    assert "blink at 1 s" not in result.stderr


def test_the_schema_knows_every_control_and_its_range() -> None:
    printed = json.loads(run("timeline", "schema").stdout)
    assert printed == json_schema()
    names = {name.replace("_", "-") for name in READERS}
    assert set(printed["properties"]) == names | {"$schema"}
    distance = printed["properties"]["distance"]["items"]["properties"]["value"]["anyOf"][0]
    assert (distance["minimum"], distance["maximum"]) == (0.5, 2.0)
