"""The options of the controls, for every command that moves a face."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import click

from vasa_cli.config import Controls
from vasa_cli.control_values import EMOTIONS, GAZES, NUMBER_RANGES, READERS
from vasa_cli.timeline import Timeline, load_timeline, parse_timeline

DEFAULTS = Controls()


class Control(click.ParamType):
    """The value of one control, as its reader takes it."""

    def __init__(self, field: str, name: str) -> None:
        self.field, self.name = field, name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return READERS[self.field](value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class TimelineFile(click.ParamType):
    """A timeline, read from its file when the option is."""

    name = "file"
    reads_file = True  # a batch resolves the path from its list first

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Timeline:
        if isinstance(value, Timeline):
            return value
        if "://" in str(value):
            from vasa_cli.batch import storage

            return parse_timeline(storage.read_bytes(str(value)), source=str(value))
        return load_timeline(Path(value))


def span(field: str) -> str:
    """The range of a number, for its help."""
    low, high = NUMBER_RANGES[field]
    return f"{low:g} to {high:g}"


OPTIONS = (
    click.option(
        "--gaze",
        type=Control("gaze", "angles"),
        metavar="YAW,PITCH",
        default=DEFAULTS.gaze,
        help="Where the eyes aim in the camera's frame, in degrees right and up, or one of "
        f"{', '.join(GAZES)}.  [default: as the speech has it]",
    ),
    click.option(
        "--gaze-wander",
        type=Control("gaze_wander", "scale"),
        default=DEFAULTS.gaze_wander,
        help=f"How far the eyes stray, {span('gaze_wander')}; 0 holds them still.",
    ),
    click.option(
        "--distance",
        type=Control("distance", "ratio"),
        default=DEFAULTS.distance,
        help=f"Of the person, {span('distance')}: 1 as in the photo, less is nearer.",
    ),
    click.option(
        "--emotion",
        type=Control("emotion", "mix"),
        metavar="NAME:STRENGTH,...",
        default=None,
        help=f"Emotions and strengths 0 to 1, together at most 1: {', '.join(EMOTIONS)}.",
    ),
    click.option(
        "--pose",
        type=Control("pose", "angles"),
        metavar="YAW,PITCH,ROLL",
        default=DEFAULTS.pose,
        help="Hold the head at these angles in degrees, with life around them.",
    ),
    click.option(
        "--pose-offset",
        type=Control("pose_offset", "angles"),
        metavar="YAW,PITCH,ROLL",
        default=None,
        help="Turn the head by so many degrees besides what it does.",
    ),
    click.option(
        "--head-motion",
        type=Control("head_motion", "scale"),
        default=DEFAULTS.head_motion,
        help=f"Scale of the head's movement, {span('head_motion')}.",
    ),
    click.option(
        "--expression",
        type=Control("expression", "scale"),
        default=DEFAULTS.expression,
        help=f"Scale of the face's movement, lips included, {span('expression')}.",
    ),
    click.option(
        "--blink",
        type=Control("blink", "scale"),
        default=DEFAULTS.blink,
        help=f"Blinks for each one there would be, {span('blink')}; 0 gives none.",
    ),
    click.option(
        "--still",
        is_flag=True,
        default=DEFAULTS.still,
        help="Head and eyes stay as in the photo, but for what is asked here.",
    ),
    click.option(
        "--timeline",
        type=TimelineFile(),
        metavar="JSON",
        default=DEFAULTS.timeline,
        help="Keyframes in seconds for any of these; see `vasa timeline check`.",
    ),
)


def control_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of all controls; the values come as keyword arguments by field."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def control_fields(given: dict[str, Any]) -> dict[str, Any]:
    """The same values of flags, with its default for each control that was not given."""
    defaults = vars(DEFAULTS)
    return {
        name: defaults[name] if value is None and name in defaults else value
        for name, value in given.items()
    }
