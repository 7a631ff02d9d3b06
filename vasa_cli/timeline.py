"""Timelines: keyframes in seconds for any control, read from JSON and checked throughout.

    {"gaze": [{"time": 2.0, "value": "left", "ease": "step"}],
     "emotion": [{"time": 3, "value": "neutral"}, {"time": 4, "value": "happy:0.8"}]}

Each control has its own list. What a value may be is what the option of that name takes; `null`
lets go of a gaze or pose that was asked for. The options' values stand at time 0, and the last
keyframe's value stays. `ease` says how the value comes here from the keyframe before.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

from vasa_cli.control_values import (
    EMOTIONS,
    GAZE_RANGES,
    GAZES,
    NUMBER_RANGES,
    POSE_RANGES,
    READERS,
)
from vasa_cli.errors import InputError

EASES = ("smooth", "linear", "in", "out", "step")  # the first is meant where none is given
RELEASABLE = ("gaze", "pose")  # what null lets go of
MAX_TIME_S = 3600.0
SCHEMA_ID = "vasa-timeline-1"


@dataclass(frozen=True)
class Keyframe:
    """What a control is at one time."""

    time: float  # seconds
    value: Any  # as the control's reader gives it; None lets go
    ease: str = EASES[0]


@dataclass(frozen=True)
class Timeline:
    """Keyframes of some controls, each in the order of time."""

    tracks: tuple[tuple[str, tuple[Keyframe, ...]], ...]  # by the control's name, with underscores

    def __post_init__(self) -> None:
        """Refuses what `parse` refuses, for timelines made in Python.

        Raises:
            ValueError: saying control and time.
        """
        checked = []
        for name, keyframes in self.tracks:
            if name not in READERS:
                raise ValueError(f"unknown control {name!r}; {_known()}")
            if not keyframes:
                raise ValueError(f"{_shown(name)} has no keyframe")
            checked.append((name, tuple(_checked(name, one) for one in keyframes)))
            for before, after in zip(keyframes, keyframes[1:]):
                if after.time <= before.time:
                    raise ValueError(
                        f"{_shown(name)} at {after.time:g} s stands after {before.time:g} s;"
                        " keyframes go forward in time"
                    )
        object.__setattr__(self, "tracks", tuple(checked))

    @property
    def end_s(self) -> float:
        """The time of the last keyframe."""
        return max((keys[-1].time for _, keys in self.tracks), default=0.0)

    def track(self, name: str) -> tuple[Keyframe, ...]:
        """The keyframes of a control; none where the timeline leaves it alone."""
        return dict(self.tracks).get(name, ())


def load_timeline(path: Path) -> Timeline:
    """The timeline in a file.

    Raises:
        InputError: the file cannot be read or is no timeline; the message names control and time.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"timeline {path} cannot be read: {error.strerror}") from error
    return parse_timeline(content, source=str(path))


def parse_timeline(content: bytes, *, source: str) -> Timeline:
    """The timeline in the content of a file.

    Args:
        source: its name, for messages.

    Raises:
        InputError: it is no timeline; all faults are told at once.
    """
    try:
        plain = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise InputError(f"timeline {source} is no valid JSON: {error}") from None
    faults: list[str] = []
    tracks: dict[str, tuple[Keyframe, ...]] = {}
    if not isinstance(plain, dict):
        raise InputError(f"timeline {source} is no JSON object; give controls and their keyframes")
    for key, keyframes in plain.items():
        name = key.replace("-", "_")
        if key == "$schema":
            continue
        if name not in READERS:
            faults.append(f"unknown control {key!r}; {_known()}")
        elif name in tracks:
            faults.append(f"{_shown(name)} stands twice")
        elif not isinstance(keyframes, list) or not keyframes:
            faults.append(f'{key} is no list of keyframes as {{"time": 2.0, "value": ...}}')
        else:
            tracks[name] = _track(name, keyframes, faults)
    if not plain or set(plain) == {"$schema"}:
        faults.append("it names no control")
    if not faults:
        try:
            return Timeline(tuple(tracks.items()))
        except ValueError as error:
            faults.append(str(error))
    raise InputError(f"timeline {source}: " + "; ".join(faults))


def _track(name: str, keyframes: list[Any], faults: list[str]) -> tuple[Keyframe, ...]:
    """The keyframes that are right; what is wrong with the others goes to `faults`."""
    found = []
    for number, one in enumerate(keyframes, 1):
        if not isinstance(one, dict) or not {"time", "value"} <= set(one):
            faults.append(f"keyframe {number} of {_shown(name)} lacks time or value")
            continue
        extra = set(one) - {"time", "value", "ease"}
        if extra:
            faults.append(f"keyframe {number} of {_shown(name)} has unknown {sorted(extra)[0]!r}")
            continue
        try:
            found.append(
                _checked(name, Keyframe(one["time"], one["value"], one.get("ease", EASES[0])))
            )
        except ValueError as error:
            faults.append(str(error))
    return tuple(found)


def _checked(name: str, one: Keyframe) -> Keyframe:
    """A keyframe whose time, value and ease can be used.

    Raises:
        ValueError: naming control and time.
    """
    is_number = isinstance(one.time, (int, float)) and not isinstance(one.time, bool)
    if not is_number or not (math.isfinite(one.time) and 0 <= one.time <= MAX_TIME_S):
        raise ValueError(
            f"{_shown(name)} at {one.time!r}: the time is not in the range 0 to {MAX_TIME_S:g} s"
        )
    where = f"{_shown(name)} at {one.time:g} s"
    if one.ease not in EASES:
        raise ValueError(f"{where}: ease {one.ease!r} is none of {', '.join(EASES)}")
    if one.value is None:
        if name not in RELEASABLE:
            raise ValueError(f"{where}: null lets go of {' or '.join(RELEASABLE)} only")
        return Keyframe(float(one.time), None, one.ease)
    try:
        return Keyframe(float(one.time), READERS[name](one.value), one.ease)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    doubles = sorted({key for key in keys if keys.count(key) > 1})
    if doubles:
        raise ValueError(f"{', '.join(doubles)} stands twice")
    return dict(pairs)


def _shown(name: str) -> str:
    return name.replace("_", "-")


def _known() -> str:
    return f"known are {', '.join(map(_shown, READERS))}"


def json_schema() -> dict[str, Any]:
    """What a timeline may be, as JSON Schema (draft 2020-12), for editors and other programs."""

    def number(low: float, high: float) -> dict[str, Any]:
        return {"type": "number", "minimum": low, "maximum": high}

    def angles(ranges: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
        items = [{"title": name} | number(*limits) for name, limits in ranges.items()]
        return {
            "type": "array",
            "prefixItems": items,
            "items": False,
            "minItems": len(items),
        }

    text = {"type": "string", "description": "as after the option"}
    released: dict[str, Any] = {"type": "null"}
    strengths = {
        "type": "object",
        "propertyNames": {"enum": list(EMOTIONS)},
        "additionalProperties": number(0, 1),
    }
    values: dict[str, Any] = {
        name: {"anyOf": [number(*limits), text]} for name, limits in NUMBER_RANGES.items()
    }
    values["gaze"] = {"anyOf": [{"enum": list(GAZES)}, angles(GAZE_RANGES), text, released]}
    values["pose"] = {"anyOf": [angles(POSE_RANGES), text, released]}
    values["pose_offset"] = {"anyOf": [angles(POSE_RANGES), text]}
    values["emotion"] = {"anyOf": [strengths, text]}
    values["still"] = {"type": "boolean"}

    def track(name: str) -> dict[str, Any]:
        properties = {
            "time": {"description": "seconds"} | number(0, MAX_TIME_S),
            "value": values[name],
            "ease": {"enum": list(EASES), "default": EASES[0]},
        }
        keyframe = {
            "type": "object",
            "properties": properties,
            "required": ["time", "value"],
            "additionalProperties": False,
        }
        return {"type": "array", "items": keyframe, "minItems": 1}

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "vasa timeline: keyframes in seconds for any control",
        "type": "object",
        "properties": {"$schema": {"type": "string"}}
        | {_shown(name): track(name) for name in READERS},
        "additionalProperties": False,
        "minProperties": 1,
    }
