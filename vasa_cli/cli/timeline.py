"""`vasa timeline`: look at a timeline before it is rendered."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.group(epilog="\b\nExample:\n  vasa timeline check controls.json")
def timeline() -> None:
    """Check timelines, and print their schema."""


@timeline.command(epilog="\b\nExample:\n  vasa timeline check controls.json --speech speech.wav")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--speech",
    type=click.Path(path_type=Path),
    help="Sound that it is for; keyframes after its end are warned about.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(file: Path, speech: Path | None, as_json: bool) -> None:
    """Read the timeline FILE and say what it asks for; faults name control and time."""
    from vasa_cli.timeline import load_timeline

    read = load_timeline(file)
    late: list[str] = []
    if speech is not None:
        from vasa_cli.audio import load_audio

        length_s = load_audio(speech).duration_s
        late = [
            f"{name.replace('_', '-')} at {one.time:g} s comes after the end of {speech.name}"
            f" ({length_s:.2f} s)"
            for name, keyframes in read.tracks
            for one in keyframes
            if one.time > length_s
        ]
    for warning in late:
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    counts = {name.replace("_", "-"): len(keyframes) for name, keyframes in read.tracks}
    if as_json:
        plain = {"file": str(file), "keyframes": counts, "end_s": read.end_s, "warnings": late}
        click.echo(json.dumps(plain))
        return
    told = ", ".join(f"{name} ({count})" for name, count in counts.items())
    click.echo(f"{click.format_filename(file)}: keyframes of {told}; the last at {read.end_s:g} s")


@timeline.command(epilog="\b\nExample:\n  vasa timeline schema > timeline.schema.json")
def schema() -> None:
    """Print the JSON Schema of timelines, for editors and other programs."""
    from vasa_cli.timeline import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
