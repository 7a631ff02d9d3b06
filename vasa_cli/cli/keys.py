"""`vasa keys`: the certificate and private key that videos are signed with."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from vasa_cli import certificates
from vasa_cli.errors import ProvenanceError


@click.group(epilog="\b\nExample:\n  vasa keys init --name 'Acme Studio'")
def keys() -> None:
    """Make and show the key that videos are signed with."""


@keys.command(epilog="\b\nExample:\n  vasa keys init --name 'Acme Studio'")
@click.option(
    "--name",
    default=certificates.DEFAULT_NAME,
    metavar="TEXT",
    help="Who signs, as everyone who checks a video will read it.",
)
@click.option("-f", "--force", is_flag=True, help="Replace keys that exist.")
def init(name: str, force: bool) -> None:
    """Make a root certificate, a certificate under it, and its private key."""
    folder = certificates.keys_dir()
    made = certificates.init_keys(folder, name=name, force=force)
    root = folder / certificates.ROOT_NAME
    click.echo(f"made keys of {made.name} in {folder}, valid until {made.valid_until:%Y-%m-%d}")
    click.echo(f"for others to trust them: vasa verify talk.mp4 --trust {shlex.quote(str(root))}")


@keys.command(epilog="\b\nExample:\n  vasa keys show --json")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(as_json: bool) -> None:
    """Show whose the keys are, how long they are valid and where they lie; exit with 6 without."""
    folder = certificates.keys_dir()
    if not certificates.has_keys(folder):
        raise ProvenanceError(f"no keys in {folder}; run `vasa keys init`")
    chain: Path = folder / certificates.CHAIN_NAME
    private_key = folder / certificates.KEY_NAME
    certificates.load_signing_key(chain, private_key)  # they fit each other
    info = certificates.read_certificate(chain)
    plain = {
        "folder": str(folder),
        "name": info.name,
        "organisation": info.organisation,
        "valid_until": f"{info.valid_until:%Y-%m-%d}",
        "certificate_sha256": info.sha256,
        "certificate": str(chain),
        "private_key": str(private_key),
        "root": str(folder / certificates.ROOT_NAME),
    }
    if as_json:
        click.echo(json.dumps(plain))
        return
    for name, value in plain.items():
        click.echo(f"{name.replace('_', ' '):19} {value}")
