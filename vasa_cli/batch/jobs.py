"""The manifest: JSON lines or CSV to jobs, with every fault of every line told at once."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any, Iterable, Iterator, Mapping, Protocol, Sequence

from vasa_cli.batch import storage
from vasa_cli.config import RenderOptions
from vasa_cli.errors import UsageError

FILE_KEYS = ("id", "photo", "audio", "output")
TEMPLATE_FIELDS = ("id", "photo", "audio", "line", "seed", "size")
DEFAULT_TEMPLATE = "{id}.mp4"
FORMATS = ("auto", "jsonl", "csv")


@dataclass(frozen=True)
class Job:
    """One video to render; paths are absolute, or URLs."""

    id: str
    line: int  # of the manifest, counted from 1
    photo: str
    audio: str
    output: str
    options: RenderOptions


@dataclass(frozen=True)
class Fault:
    """What is wrong with one line of a manifest."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


class ManifestError(UsageError):
    """A manifest that nothing is run of; `faults` holds all that is wrong, by line."""

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        super().__init__(f"{count} in {source}, so nothing was run; mend the lines named above")


class OptionReader(Protocol):
    """Turns a line's option values into RenderOptions; the command line brings one."""

    @property
    def names(self) -> Sequence[str]:
        """The long names of all render options."""

    def read(self, values: Mapping[str, Any]) -> tuple[RenderOptions, list[str]]:
        """The options, and what is wrong with the values; defaults stand for what is wrong."""


@dataclass(frozen=True)
class _Line:
    number: int
    values: Mapping[str, Any]


def read_manifest(
    content: bytes,
    *,
    source: str,
    folder: str,
    reader: OptionReader,
    file_format: str = "auto",
    template: str | None = None,
) -> list[Job]:
    """The jobs of a manifest, in its order.

    Args:
        content: UTF-8 text of one JSON object a line, or CSV with a header.
        source: the manifest's name, for messages and to tell its format by its ending.
        folder: what the paths in it are relative to.
        template: output of jobs that name none, relative to `folder`; like an output in the
            manifest it may hold the fields in TEMPLATE_FIELDS.

    Raises:
        ManifestError: any line is wrong, two jobs share an id or an output, or there is no job.
    """
    faults: list[Fault] = []
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ManifestError(source, [Fault(line, "not UTF-8; save it as UTF-8")]) from None
    read = _csv_lines if _is_csv(text, source, file_format) else _json_lines
    jobs = []
    for each in read(text, faults):
        job = _read_job(each, folder, reader, template or DEFAULT_TEMPLATE, faults)
        if job is not None:
            jobs.append(job)
    faults += _clashes(jobs)
    if not jobs and not faults:
        faults.append(Fault(1, "there is no job; write one JSON object a line, or CSV"))
    if faults:
        raise ManifestError(source, faults)
    return jobs


def take_shard(jobs: Sequence[Job], index: int, count: int) -> list[Job]:
    """Part `index`, counted from 1, of `count` parts that share out all jobs, each to one part."""
    if not 1 <= index <= count:
        raise UsageError(f"there is no shard {index}/{count}; count from 1/{count}")
    return list(jobs[index - 1 :: count])


def _is_csv(text: str, source: str, file_format: str) -> bool:
    if file_format != "auto":
        return file_format == "csv"
    if source.lower().endswith((".csv", ".jsonl", ".ndjson", ".json")):
        return source.lower().endswith(".csv")
    return not text.lstrip().startswith("{")


def _json_lines(text: str, faults: list[Fault]) -> Iterator[_Line]:
    # Not splitlines: it also breaks at U+2028, which may stand inside a JSON string.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line, object_pairs_hook=_without_doubles)
        except ValueError as error:
            words = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            column = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            faults.append(Fault(number, f"no valid JSON: {words}{column}"))
            continue
        except RecursionError:
            faults.append(Fault(number, "no valid JSON: nested too deep"))
            continue
        if not isinstance(values, dict):
            faults.append(Fault(number, 'no JSON object; write {"photo": ..., "audio": ...}'))
            continue
        yield _Line(number, values)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        doubles = sorted({key for key in keys if keys.count(key) > 1})
        raise ValueError(f"{', '.join(doubles)} stands twice")
    return values


def _csv_lines(text: str, faults: list[Fault]) -> Iterator[_Line]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    begins = 1
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            faults.append(Fault(rows.line_num, f"no valid CSV: {error}"))
            return  # where the next row begins is not known
        if row is None:
            return
        number, begins = begins, rows.line_num + 1
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if header is None:
            header = cells
            if wrong := _header_fault(header):
                faults.append(Fault(number, wrong))
                return
        elif len(cells) > len(header):
            faults.append(Fault(number, f"{len(cells)} cells under {len(header)} headings"))
        else:
            yield _Line(number, {key: cell for key, cell in zip(header, cells) if cell})


def _header_fault(header: list[str]) -> str:
    if "" in header:
        return "a heading is empty"
    doubles = sorted({key for key in header if header.count(key) > 1})
    return f"the heading {', '.join(doubles)} stands twice" if doubles else ""


def _read_job(
    line: _Line, folder: str, reader: OptionReader, template: str, faults: list[Fault]
) -> Job | None:
    """The job of one line; None, and faults, where it is wrong."""
    wrong: list[str] = []
    values: dict[str, Any] = {}
    for key, value in line.values.items():
        plain = key.replace("_", "-")  # guidance_audio is the same as guidance-audio
        if plain not in (*FILE_KEYS, *reader.names):
            wrong.append(_unknown_key(key, reader.names))
        elif plain in values:
            wrong.append(f"{plain} stands twice")
        elif value is not None:
            values[plain] = value
    texts = {key: _text(key, values.pop(key), wrong) for key in FILE_KEYS if key in values}
    for key in ("photo", "audio"):
        if key not in texts:
            wrong.append(f"{key} is missing")
    options, option_faults = reader.read(values)
    wrong += option_faults
    output = pattern = texts.get("output", template)
    stems = {key: storage.name(texts.get(key, "")).rsplit(".", 1)[0] for key in FILE_KEYS}
    job_id = texts.get("id") or stems["output"]
    if not job_id or "{" in job_id:
        job_id = f"{stems['photo']}-{stems['audio']}"
    fields = stems | {"id": job_id, "line": line.number, "seed": options.seed, "size": options.size}
    del fields["output"]
    try:
        output = pattern.format(**fields)
    except (KeyError, ValueError, IndexError, AttributeError):
        known = ", ".join(f"{{{field}}}" for field in TEMPLATE_FIELDS)
        wrong.append(f"the output {pattern} cannot be filled in; it may hold {known}")
    if not output.lower().endswith(".mp4"):
        wrong.append(f"output {output} does not end in .mp4")
    faults += [Fault(line.number, message) for message in wrong]
    if wrong:
        return None
    photo, audio = (storage.resolve(texts[key], folder) for key in ("photo", "audio"))
    return Job(job_id, line.number, photo, audio, storage.resolve(output, folder), options)


def _text(key: str, value: Any, wrong: list[str]) -> str:
    is_text = isinstance(value, str) or (key == "id" and type(value) is int)
    text = str(value)
    if not is_text or not text.strip() or "\0" in text:
        wrong.append(f"{key} is {json.dumps(value)}; give a text")
        return "?.mp4"  # keeps one fault from bringing others
    return text


def _unknown_key(key: str, names: Iterable[str]) -> str:
    import difflib

    known = [*FILE_KEYS, *names]
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
    return f"unknown key {key}; {hint}"


def _clashes(jobs: Sequence[Job]) -> Iterator[Fault]:
    """Jobs that share an id or an output, and outputs that are an input of any job."""
    ids: dict[str, int] = {}
    outputs: dict[str, int] = {}
    for job in jobs:
        if job.id in ids:
            yield Fault(job.line, f"id {job.id} is that of line {ids[job.id]}; give each its own")
        ids.setdefault(job.id, job.line)
        place = storage.identity(job.output)
        if place in outputs:
            yield Fault(job.line, f"output {job.output} is that of line {outputs[place]}")
        outputs.setdefault(place, job.line)
    for job in jobs:
        for path in dict.fromkeys((job.photo, job.audio)):
            if (writer := outputs.get(storage.identity(path))) is not None:
                yield Fault(job.line, f"input {path} is the output of line {writer}")
