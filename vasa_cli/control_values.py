"""How the values of the controls are written, and how far each may go; importing it costs nothing.

One reader a control turns what was typed, or what stands in a batch list, a timeline or a Python
call, into one plain value. What it cannot use it refuses with a ValueError that says the range.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Mapping

EMOTIONS = (
    "neutral",
    "happy",
    "sad",
    "angry",
    "surprised",
    "fearful",
    "disgusted",
    "contemptuous",
)
# Degrees (yaw, pitch) in the camera's frame, as the viewer sees them.
GAZES = {
    "camera": (0.0, 0.0),
    "left": (-20.0, 0.0),
    "right": (20.0, 0.0),
    "up": (0.0, 12.0),
    "down": (0.0, -12.0),
}
GAZE_RANGES = {"yaw": (-40.0, 40.0), "pitch": (-30.0, 30.0)}  # degrees
POSE_RANGES = {"yaw": (-45.0, 45.0), "pitch": (-30.0, 30.0), "roll": (-45.0, 45.0)}  # degrees
NUMBER_RANGES = {
    "distance": (0.5, 2.0),  # 1 as in the photo, less is nearer
    "gaze_wander": (0.0, 3.0),
    "head_motion": (0.0, 3.0),
    "expression": (0.0, 2.0),
    "blink": (0.0, 3.0),
}

Gaze = tuple[float, float]
Pose = tuple[float, float, float]
Emotion = tuple[tuple[str, float], ...]


def read_gaze(value: Any) -> Gaze:
    """Yaw and pitch in degrees from 10,-5, [10, -5] or a name of GAZES."""
    if isinstance(value, str) and value.strip() in GAZES:
        return GAZES[value.strip()]
    yaw, pitch = _angles(value, GAZE_RANGES, f"two angles as 10,-5, or one of {', '.join(GAZES)}")
    return yaw, pitch


def read_pose(value: Any) -> Pose:
    """Yaw, pitch and roll in degrees from 10,-5,0 or [10, -5, 0]."""
    yaw, pitch, roll = _angles(value, POSE_RANGES, "three angles as 10,-5,0")
    return yaw, pitch, roll


def read_emotion(value: Any) -> Emotion:
    """Emotions with their strengths, 0 to 1 and together at most 1.

    From happy, happy:0.7, happy:0.4,surprised:0.3, or an object of names and strengths.
    """
    if isinstance(value, str):
        parts = [part.partition(":") for part in value.split(",")]
        pairs = [(name.strip(), strength if colon else 1) for name, colon, strength in parts]
    elif isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, (list, tuple)) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in value
    ):
        pairs = [(pair[0], pair[1]) for pair in value]
    else:
        raise ValueError(f"{value!r} is no emotion; give happy:0.7 or happy:0.4,surprised:0.3")
    mix: dict[str, float] = {}
    for name, strength in pairs:
        if name not in EMOTIONS:
            raise ValueError(f"{name!r} is no emotion; choose from {', '.join(EMOTIONS)}")
        if name in mix:
            raise ValueError(f"{name} stands twice; give each emotion once")
        mix[name] = _in_range(_number(strength, f"the strength of {name}"), 0, 1, f"{name}")
    total = sum(mix.values())
    if total > 1 + 1e-9:
        raise ValueError(f"the strengths add up to {total:g}; together they go from 0 to 1")
    return tuple((name, mix[name]) for name in EMOTIONS if mix.get(name))


def read_still(value: Any) -> bool:
    """True or false."""
    known = {"true": True, "false": False}
    if isinstance(value, str) and value.strip().lower() in known:
        return known[value.strip().lower()]
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _number_reader(name: str) -> Callable[[Any], float]:
    low, high = NUMBER_RANGES[name]

    def read(value: Any) -> float:
        return _in_range(_number(value, ""), low, high, "")

    return read


# One a control, by the name of its field; the option's long name has hyphens.
READERS: Mapping[str, Callable[[Any], Any]] = {
    "gaze": read_gaze,
    "gaze_wander": _number_reader("gaze_wander"),
    "distance": _number_reader("distance"),
    "emotion": read_emotion,
    "pose": read_pose,
    "pose_offset": read_pose,
    "head_motion": _number_reader("head_motion"),
    "expression": _number_reader("expression"),
    "blink": _number_reader("blink"),
    "still": read_still,
}


def _angles(value: Any, ranges: Mapping[str, tuple[float, float]], usage: str) -> list[float]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or len(parts) != len(ranges):
        raise ValueError(f"{value!r} cannot be read; give {usage}")
    return [
        _in_range(_number(part, name), *ranges[name], name) for part, name in zip(parts, ranges)
    ]


def _number(value: Any, name: str) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        what = f"{name} " if name else ""
        raise ValueError(f"{what}{value!r} is no number") from None
    return number


def _in_range(number: float, low: float, high: float, name: str) -> float:
    if not (math.isfinite(number) and low <= number <= high):
        what = f"{name} " if name else ""
        raise ValueError(f"{what}{number:g} is not in the range {low:g} to {high:g}")
    return number
