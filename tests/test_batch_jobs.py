"""Manifests: what is read from them, and that every fault is told at once."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import pytest

from vasa_cli.batch.jobs import Job, ManifestError, read_manifest, take_shard
from vasa_cli.batch.ledger import options_json
from vasa_cli.cli.batch import run
from vasa_cli.cli.batch_options import OPTION_FIELDS, RENDER_PARAMS, OptionFlags
from vasa_cli.config import RenderOptions
from vasa_cli.errors import UsageError
from vasa_cli.timeline import load_timeline

CONTEXT = click.Context(run)
DEFAULTS = vars(RenderOptions())


def read(content: str | bytes, *, source: str = "jobs.jsonl", **options: Any) -> list[Job]:
    reader = OptionFlags(CONTEXT, DEFAULTS, folder="/in")
    data = content if isinstance(content, bytes) else content.encode()
    return read_manifest(data, source=source, folder="/in", reader=reader, **options)


def faults(content: str | bytes, **options: Any) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        read(content, **options)
    assert caught.value.exit_code == 2
    return [str(fault) for fault in caught.value.faults]


def line(**values: Any) -> str:
    return json.dumps({"photo": "a.png", "audio": "b.wav"} | values)


def test_a_line_is_a_job_with_paths_from_the_manifests_folder() -> None:
    jobs = read(line(id="one", output="sub/../c.mp4", audio="/else/b.wav") + "\n")
    assert jobs == [Job("one", 1, "/in/a.png", "/else/b.wav", "/in/c.mp4", RenderOptions())]


VALUES = [
    ("size", 256, "size", 256),
    ("fps", "29.97", "fps", Fraction(30000, 1001)),
    ("fps", 12.5, "fps", Fraction(25, 2)),
    ("frame", "photo", "frame", "photo"),
    ("seed", 7, "seed", 7),
    ("crf", 0, "crf", 0),
    ("preview", 1.5, "preview_s", 1.5),
    ("face-box", [10, 20.5, 110, 140], "face_box", (10.0, 20.5, 110.0, 140.0)),
    ("face-box", "10,20.5,110,140", "face_box", (10.0, 20.5, 110.0, 140.0)),
    ("face_box", "1,2,3,4", "face_box", (1.0, 2.0, 3.0, 4.0)),
    ("face", 2, "face", 2),
    ("steps", 25, "num_steps", 25),
    ("guidance-audio", 0, "guidance_audio", 0.0),
    ("guidance-gaze", 0.5, "guidance_gaze", 0.5),
    ("motion", "talk.safetensors", "motion", Path("/in/talk.safetensors")),
    ("gaze", [10, -5], "gaze", (10.0, -5.0)),
    ("gaze", "up", "gaze", (0.0, 12.0)),
    ("gaze-wander", 0, "gaze_wander", 0.0),
    ("distance", 1.2, "distance", 1.2),
    ("emotion", {"happy": 0.4, "sad": 0.3}, "emotion", (("happy", 0.4), ("sad", 0.3))),
    ("emotion", "happy:0.4", "emotion", (("happy", 0.4),)),
    ("pose", [1, 2, 3], "pose", (1.0, 2.0, 3.0)),
    ("pose_offset", "1,2,3", "pose_offset", (1.0, 2.0, 3.0)),
    ("head-motion", 0.5, "head_motion", 0.5),
    ("expression", 1.5, "expression", 1.5),
    ("blink", 0, "blink", 0.0),
    ("still", True, "still", True),
    ("watermark", False, "watermark", False),
    ("ingredient", True, "ingredient", True),
    ("provenance", "off", "provenance", "off"),
    ("label", "made by a machine", "label", "made by a machine"),
]


@pytest.mark.parametrize(("key", "value", "field", "expected"), VALUES)
def test_each_option_has_its_long_name_as_key(
    key: str, value: Any, field: str, expected: Any
) -> None:
    (job,) = read(line(**{key: value}))
    assert job.options == dataclasses.replace(RenderOptions(), **{field: expected})


def test_certificate_and_key_come_together_with_paths_from_the_manifests_folder() -> None:
    (job,) = read(line(cert="keys/cert.pem", key="/keys/key.pem"))
    assert job.options == RenderOptions(
        certificate=Path("/in/keys/cert.pem"), private_key=Path("/keys/key.pem")
    )


def test_every_option_of_render_can_be_a_key() -> None:
    assert {param.name for param in RENDER_PARAMS} == OPTION_FIELDS
    fields = {field.name for field in dataclasses.fields(RenderOptions)}
    assert OPTION_FIELDS == fields - {"force"}


def test_a_timeline_lies_beside_the_list_and_its_content_counts(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"blink": [{"time": 1, "value": 0}]}')

    def jobs() -> list[Job]:
        reader = OptionFlags(CONTEXT, DEFAULTS, folder=str(tmp_path))
        content = line(timeline="t.json").encode()
        return read_manifest(content, source="x.jsonl", folder=str(tmp_path), reader=reader)

    (job,) = jobs()
    assert job.options.timeline == load_timeline(path)
    before = options_json(job.options)
    path.write_text('{"blink": [{"time": 1, "value": 2}]}')
    assert options_json(jobs()[0].options) != before  # so that the job is done again
    path.write_text('{"blink": [{"time": 1, "value": 9}]}')
    with pytest.raises(ManifestError) as caught:
        jobs()
    assert "timeline: timeline" in str(caught.value.faults[0])
    assert "blink at 1 s: 9 is not in the range" in str(caught.value.faults[0])


def test_csv_and_json_lines_give_the_same_jobs() -> None:
    rows = [
        {"id": "1", "photo": "a, b.png", "audio": "ü.wav", "output": "x.mp4", "seed": "3"},
        {"id": "2", "photo": 'a"b.png', "audio": "b.wav", "face-box": "1,2,3,4"},
        {"id": "3", "photo": "a.png", "audio": "b.wav", "fps": "29.97", "size": "256"},
    ]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, keys)
    writer.writeheader()
    writer.writerows(rows)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    jobs = [dataclasses.replace(job, line=0) for job in read(lines)]
    for content in (text.getvalue(), text.getvalue().replace("\r\n", "\n")):
        for options in ({"source": "x.csv"}, {"source": "standard input"}, {"file_format": "csv"}):
            read_jobs = read(content, **options)  # type: ignore[arg-type]
            assert [dataclasses.replace(job, line=0) for job in read_jobs] == jobs
            assert [job.line for job in read_jobs] == [2, 3, 4]


def test_a_byte_order_mark_and_blank_lines_do_no_harm() -> None:
    assert len(read(b"\xef\xbb\xbf" + f"\n{line()}\r\n\n".encode())) == 1
    assert len(read(b"\xef\xbb\xbfphoto,audio\r\n,\r\na.png,b.wav\r\n", source="a.csv")) == 1


def test_a_separator_of_unicode_is_no_end_of_line() -> None:
    (job,) = read(json.dumps({"photo": "a\u2028b.png", "audio": "b.wav"}, ensure_ascii=False))
    assert job.photo == "/in/a\u2028b.png"


@pytest.mark.parametrize(
    ("values", "template", "output"),
    [
        ({}, None, "/in/a-b.mp4"),
        ({"id": "one"}, None, "/in/one.mp4"),
        ({"id": "one"}, "/out/{photo}_{audio}_{seed}_{size}_{line}.mp4", "/out/a_b_0_512_1.mp4"),
        ({"id": "one", "output": "{id}-x.mp4"}, None, "/in/one-x.mp4"),
        ({"id": 12}, "{id}.mp4", "/in/12.mp4"),
        ({"seed": 7, "output": "{{{seed}}}.mp4"}, None, "/in/{7}.mp4"),
        ({"photo": "s3://b/x/p.q.png"}, None, "/in/p.q-b.mp4"),
    ],
)
def test_outputs_are_named_by_template(
    values: dict[str, Any], template: str | None, output: str
) -> None:
    assert read(line(**values), template=template)[0].output == output


def test_without_an_id_the_output_names_the_job() -> None:
    assert read(line(output="x/talk.mp4"))[0].id == "talk"


def test_all_faults_of_all_lines_are_told_at_once() -> None:
    content = "\n".join(
        [
            '{"photo": "a.png"',
            "[1]",
            line(id="p", sed=1, size=5, fps="x"),
            '{"id": "q", "photo": "", "output": "talk.avi"}',
            line(id="r", output="same.mp4"),
            "",
            line(id="r", output="./x/../same.mp4"),
            line(id="s", photo="same.mp4"),
            '{"seed": 1, "seed": 2}',
            line(id="t", seed=True, steps=1.5, preview=float("nan"), crf={}),
            line(id="u", face=1, **{"face-box": "1,1,9,9"}),
            line(id="v", output="{nobody}.mp4"),
            line(id="w", guidance_audio=1, **{"guidance-audio": 2}),
            line(id="x", device="cpu", photo=5),
            line(id="y", audio="a\0b"),
        ]
    )
    told = faults(content)
    expected = [
        ("line 1:", "no valid JSON: Expecting ',' delimiter at column 18"),
        ("line 2:", "no JSON object"),
        ("line 3:", "unknown key sed; did you mean seed?"),
        ("line 3:", "size: 5 is not in the range 128<=x<=1024"),
        ("line 3:", "fps: x is no frame rate"),
        ("line 4:", 'photo is ""; give a text'),
        ("line 4:", "audio is missing"),
        ("line 4:", "output talk.avi does not end in .mp4"),
        ("line 7:", "id r is that of line 5"),
        ("line 7:", "output /in/same.mp4 is that of line 5"),
        ("line 8:", "input /in/same.mp4 is the output of line 5"),
        ("line 9:", "seed stands twice"),
        ("line 10:", "seed: 'True' is not a valid integer"),
        ("line 10:", "steps: '1.5' is not a valid integer"),
        ("line 10:", "preview: nan is no finite number"),
        ("line 10:", "crf: an object"),
        ("line 11:", "give one of them"),
        ("line 12:", "the output {nobody}.mp4 cannot be filled in"),
        ("line 13:", "guidance-audio stands twice"),
        ("line 14:", "unknown key device"),
        ("line 14:", "photo is 5; give a text"),
        ("line 15:", "audio is"),
    ]
    for start, words in expected:
        assert [one for one in told if one.startswith(start) and words in one], (start, words, told)
    assert len(told) == len(expected)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("photo,audio,\na,b,c\n", "line 1: a heading is empty"),
        ("photo,audio,photo\na,b,c\n", "line 1: the heading photo stands twice"),
        ('photo,audio,id\na,b,"1\n2"\nc,d,e,f\n', "line 4: 4 cells under 3 headings"),
        ('photo,audio\na,b\nc,"d"e\n', "line 3: no valid CSV"),
        ("photo,audio\n", "line 1: there is no job"),
        ("", "line 1: there is no job"),
    ],
)
def test_faults_of_csv_have_line_numbers_too(content: str, words: str) -> None:
    assert any(words in one for one in faults(content, source="a.csv"))


def test_other_encodings_are_refused_with_their_line() -> None:
    assert faults(f"{line()}\n".encode() + b'{"photo": "\xe9.png"}') == [
        "line 2: not UTF-8; save it as UTF-8"
    ]


def test_two_ways_to_one_folder_are_one_output(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    content = "\n".join(line(id=k, output=f"{tmp_path}/{k}/x.mp4") for k in ("real", "link"))
    assert "is that of line 1" in faults(content)[0]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 11])
def test_shards_share_out_all_jobs_each_once(count: int) -> None:
    jobs = read("\n".join(line(id=str(number)) for number in range(10)))
    parts = [take_shard(jobs, index, count) for index in range(1, count + 1)]
    assert sorted(job.line for part in parts for job in part) == [job.line for job in jobs]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_shard_beyond_the_last_is_misuse() -> None:
    with pytest.raises(UsageError, match="no shard 3/2"):
        take_shard([], 3, 2)


def test_the_golden_list_is_right_and_its_inputs_are_there(repository: Path) -> None:
    path = repository / "examples" / "regress" / "jobs.jsonl"
    jobs = read_manifest(
        path.read_bytes(),
        source=str(path),
        folder=str(path.parent),
        reader=OptionFlags(CONTEXT, DEFAULTS, folder="/in"),
    )
    assert len({job.id for job in jobs}) == len(jobs) >= 3
    assert all(Path(file).is_file() for job in jobs for file in (job.photo, job.audio))
