"""`vasa weights`: what trained weights there are, and whether they are whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable

import click

from vasa_cli import weights as library
from vasa_cli.errors import WeightsError


def _common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(
        command
    )
    return click.option(
        "--weights-dir",
        type=click.Path(path_type=Path),
        help="Folder to look at.  [default: $VASA_WEIGHTS, else the weights that came with vasa]",
    )(command)


@click.group(epilog="\b\nExample:\n  vasa weights verify")
def weights() -> None:
    """Show and check the trained weights."""


@weights.command("list", epilog="\b\nExample:\n  vasa weights list --json")
@_common_options
def list_weights(weights_dir: Path | None, as_json: bool) -> None:
    """Show each network's file, size, licence and origin."""
    found = library.find_weights_dir(weights_dir)
    manifest = library.load_manifest(found)
    if as_json:
        files = {name: asdict(entry) for name, entry in manifest.files.items()}
        click.echo(
            json.dumps({"weights_dir": str(found), "version": manifest.version, "files": files})
        )
        return
    click.echo(f"weights {manifest.version} in {found}")
    for name, entry in manifest.files.items():
        click.echo(f"{name:10} {entry.bytes / 1e6:7.2f} MB  {entry.licence}  {entry.origin}")


@weights.command(epilog="\b\nExample:\n  vasa weights verify --weights-dir weights")
@_common_options
def verify(weights_dir: Path | None, as_json: bool) -> None:
    """Check every file's size, SHA-256 and header; exit with 4 when one is wrong."""
    found = library.find_weights_dir(weights_dir)
    faults = library.verify(found)
    n_wrong = sum(fault is not None for fault in faults.values())
    if as_json:
        plain = {name: None if fault is None else str(fault) for name, fault in faults.items()}
        click.echo(json.dumps({"weights_dir": str(found), "ok": n_wrong == 0, "faults": plain}))
    else:
        for name, fault in faults.items():
            click.echo(f"{name:10} {'ok' if fault is None else fault}")
    if n_wrong:
        raise WeightsError(
            f"{n_wrong} of {len(faults)} weights in {found} are wrong; install vasa again"
        )
