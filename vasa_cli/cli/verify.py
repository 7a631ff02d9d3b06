"""`vasa verify`: which marks a video bears, and what they prove."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vasa_cli.errors import InputError

if TYPE_CHECKING:
    from vasa_cli.verification import Report

NOT_HELD = 1
PATH = click.Path(path_type=Path)


@click.command(epilog="\b\nExample:\n  vasa verify talk.mp4 --json")
@click.argument("files", type=PATH, nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--trust",
    "anchors",
    type=PATH,
    multiple=True,
    metavar="PEM",
    help="A root certificate to trust beside your own; may be given more than once.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.pass_context
def verify(
    ctx: click.Context, files: tuple[Path, ...], *, anchors: tuple[Path, ...], as_json: bool
) -> None:
    """Look for vasa's marks in each FILE and say what they prove.

    Exits with 0 when vasa's marks hold in every file, 1 when not in one, 3 when the only file
    cannot be read.
    """
    from vasa_cli import verification

    reports: list[Report] = []
    faults: list[InputError] = []
    for path in files:
        try:
            report = verification.verify(path, anchors=anchors)
        except InputError as fault:
            if len(files) == 1:
                raise
            faults.append(fault)
            click.secho(f"error: {fault}", fg="red", err=True)
            continue
        reports.append(report)
        if not as_json:
            click.echo(describe(report))
    ok = not faults and all(report.holds for report in reports)
    if as_json:
        plain = [report.as_json() for report in reports]
        click.echo(json.dumps({"ok": ok, "files": plain, "errors": [str(f) for f in faults]}))
    ctx.exit(0 if ok else NOT_HELD)


def describe(report: Report) -> str:
    """The report for a reader: one line a layer, then what follows from them."""
    tags, credentials, mark = report.tags, report.credentials, report.watermark
    if tags.say_generated:
        tag_words = f"say AI-generated: {tags.comment or tags.source_type}"
    else:
        tag_words = "none that say AI-generated"
    credential_words = {
        "trusted": f"trusted: signed by {credentials.signer} with {credentials.tool}",
        "valid": f"valid, of a signer not known here: {credentials.signer} with {credentials.tool}",
        "invalid": f"invalid: {credentials.reason}",
        "none": "none",
        "unread": f"there, not read: {credentials.reason}",
    }[credentials.state]
    if mark.found:
        chance = f"at most {mark.false_alarm:.0e}" if mark.false_alarm else "next to nothing"
        mark_words = f"found (score {mark.z:.1f}; the chance without a mark is {chance})"
    else:
        mark_words = f"not found (score {mark.z:.1f} in {mark.n_frames} frames)"
    return "\n".join(
        [
            click.format_filename(report.path),
            f"  tags         {tag_words}",
            f"  credentials  {credential_words}",
            f"  watermark    {mark_words}",
            f"  {report.conclusion}",
        ]
    )
