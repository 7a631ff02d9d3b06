"""The render options of a batch: as flags for all jobs, and as keys of one job's line."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, Mapping

import click

from vasa_cli.batch import storage
from vasa_cli.cli.render import build_options
from vasa_cli.cli.render import render as render_command
from vasa_cli.config import RenderOptions
from vasa_cli.errors import UsageError, VasaError

OPTION_FIELDS = {field.name for field in dataclasses.fields(RenderOptions)} - {"force"}
RENDER_PARAMS = [param for param in render_command.params if param.name in OPTION_FIELDS]


class OptionFlags:
    """Reads the options of a manifest's line by the rules of the flags of `vasa render`."""

    def __init__(self, ctx: click.Context, defaults: Mapping[str, Any], *, folder: str) -> None:
        self._ctx, self._folder = ctx, folder
        # A worker may be started elsewhere; what is typed as a flag is meant from here.
        self._defaults = {name: _from(os.getcwd(), value) for name, value in defaults.items()}
        self._params = {max(param.opts, key=len).lstrip("-"): param for param in RENDER_PARAMS}

    @property
    def names(self) -> list[str]:
        return list(self._params)

    def read(self, values: Mapping[str, Any]) -> tuple[RenderOptions, list[str]]:
        fields, faults = dict(self._defaults), []
        for name, value in values.items():
            param = self._params[name]
            try:
                if getattr(param.type, "reads_file", False) and isinstance(value, str):
                    value = storage.resolve(value, self._folder)
                converted = param.process_value(self._ctx, _as_typed(value, param))
                fields[str(param.name)] = _from(self._folder, converted)
            except click.UsageError as error:
                faults.append(f"{name}: {error.message}")
            except VasaError as error:  # of a file that the value names
                faults.append(f"{name}: {error}")
        try:
            options = build_options(**fields)
            if options.label is not None:
                from vasa_cli.label import check_text

                check_text(options.label)
            return options, faults
        except click.UsageError as error:
            return RenderOptions(), [*faults, error.message]
        except UsageError as error:
            return RenderOptions(), [*faults, str(error)]


def _from(folder: str, value: Any) -> Any:
    """A path made absolute; any other value as it is."""
    return Path(storage.resolve(str(value), folder)) if isinstance(value, Path) else value


def _as_typed(value: Any, param: click.Parameter) -> Any:
    """A JSON value as it would be typed after the flag."""
    if isinstance(value, list) and not param.multiple:
        return ",".join(map(str, value))
    if isinstance(value, list):
        return [str(one) for one in value]
    if isinstance(value, dict) and param.name == "emotion":
        return ",".join(f"{name}:{strength}" for name, strength in value.items())
    if isinstance(value, dict):
        raise click.UsageError("an object; give a number or a text")
    return [str(value)] if param.multiple else str(value)


class Shard(click.ParamType):
    """A part of a whole, as 2/8."""

    name = "i/n"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        index, _, count = str(value).partition("/")
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            self.fail(f"{value} is no shard; give 1/8 to 8/8", param, ctx)
        return int(index), int(count)
