"""`vasa doctor`: what is right and wrong with this installation, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Iterator

import click

from vasa_cli import __version__, certificates, provenance, weights
from vasa_cli.config import RenderOptions
from vasa_cli.errors import VasaError, WeightsError

OK, WARN, FAIL = "ok", "warn", "fail"
COLOURS = {OK: "green", WARN: "yellow", FAIL: "red"}
DISTRIBUTION = "vasa-cli"
OLDEST_PYTHON = (3, 11)
LOW_DISK_BYTES = 1_000_000_000
FFMPEG_TIMEOUT_S = 30


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    status: str  # "ok", "warn" or "fail"
    seen: str
    mend: str = ""


@click.command(epilog="\b\nExample:\n  vasa doctor --json")
@click.option(
    "--weights-dir",
    type=click.Path(path_type=Path),
    help="Folder of the trained weights.  [default: $VASA_WEIGHTS, else those that came with vasa]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.pass_context
def doctor(ctx: click.Context, weights_dir: Path | None, as_json: bool) -> None:
    """Check Python, packages, devices, ffmpeg, weights and disk, and say how to mend what is wrong.

    Exits with 0 when vasa can render, 4 when only the weights are wrong, 1 when anything else is.
    """
    checks = list(examine(weights_dir))
    code = exit_code(checks)
    if as_json:
        report = {"ok": code == 0, "version": __version__, "checks": [asdict(c) for c in checks]}
        click.echo(json.dumps(report))
        ctx.exit(code)
    for check in checks:
        status = click.style(f"{check.status:4}", fg=COLOURS[check.status])
        click.echo(f"{status}  {check.name:17} {check.seen}")
        if check.mend:
            click.echo(f"{'':6}{'':17} -> {check.mend}")
    ctx.exit(code)


def examine(weights_dir: Path | None) -> Iterator[Check]:
    """Every check, in the order of the report."""
    yield check_python()
    yield from check_packages()
    yield from check_torch()
    yield from check_ffmpeg()
    yield from check_weights(weights_dir)
    yield check_provenance()
    yield check_disk(Path.cwd())


def exit_code(checks: list[Check]) -> int:
    """0 when nothing fails, 4 when only weights do, 1 otherwise."""
    failed = [check for check in checks if check.status == FAIL]
    if not failed:
        return 0
    only_weights = all(check.name.startswith("weights") for check in failed)
    return WeightsError.exit_code if only_weights else 1


def check_python() -> Check:
    seen = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        return Check("python", FAIL, seen, "vasa needs Python 3.11 or newer")
    return Check("python", OK, seen)


def check_packages() -> Iterator[Check]:
    """The version of vasa and of each package that it needs, as its own metadata lists them."""
    try:
        required = importlib.metadata.requires(DISTRIBUTION) or []
        installed = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        yield Check("vasa", WARN, f"{__version__}, not installed", "run `make install`")
        return
    if installed == __version__:
        yield Check("vasa", OK, installed)
    else:
        yield Check(
            "vasa", WARN, f"{__version__}, installed as {installed}", "run `make install` again"
        )
    for requirement in required:
        if "extra ==" in requirement:
            continue
        matched = re.match(r"[\w.-]+", requirement)
        name = matched.group() if matched else requirement
        try:
            yield Check(name, OK, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, FAIL, "not installed", f'run `python -m pip install "{requirement}"`')


def check_torch() -> Iterator[Check]:
    """Threads, number formats and devices that the networks could run on."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        yield Check("torch runs", FAIL, f"{type(error).__name__}: {error}", "install torch again")
        return
    yield Check("cpu threads", OK, f"{torch.get_num_threads()}")
    try:
        from vasa_cli.loading import fast_bf16
    except ImportError:
        pass  # the package that is missing has a line of its own
    else:
        fast = fast_bf16(torch.device("cpu"))
        yield Check("cpu bf16", OK, "fast" if fast else "not fast here; float32 is used")
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices.append(f"cuda ({torch.cuda.get_device_name()})")
    if torch.backends.mps.is_available():
        devices.append("mps")
    yield Check("devices", OK, ", ".join(devices))


def check_ffmpeg() -> Iterator[Check]:
    """The bundled ffmpeg and its H.264 encoder."""
    mend = "run `python -m pip install --force-reinstall imageio-ffmpeg`"
    try:
        import imageio_ffmpeg

        program = imageio_ffmpeg.get_ffmpeg_exe()
        version = _run_ffmpeg(program, "-version")
        encoders = _run_ffmpeg(program, "-hide_banner", "-encoders")
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        yield Check("ffmpeg", FAIL, f"{type(error).__name__}: {error}", mend)
        return
    yield Check("ffmpeg", OK, f"{' '.join(version.split()[:3])} ({program})")
    if "libx264" in encoders:
        yield Check("ffmpeg libx264", OK, "there")
    else:
        yield Check("ffmpeg libx264", FAIL, f"missing from {program}", mend)


def _run_ffmpeg(program: str, *arguments: str) -> str:
    return subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=True,
        timeout=FFMPEG_TIMEOUT_S,
    ).stdout


def check_weights(weights_dir: Path | None) -> Iterator[Check]:
    """Where the weights are and whether each is whole; what is wrong also says how to mend it."""
    try:
        found = weights.find_weights_dir(weights_dir)
        version = weights.load_manifest(found).version
        faults = weights.verify(found)
    except WeightsError as fault:
        yield Check("weights", FAIL, str(fault))
        return
    yield Check("weights", OK, f"{version} in {found}")
    for name, wrong in faults.items():
        if wrong is None:
            yield Check(f"weights {name}", OK, "whole")
        else:
            yield Check(f"weights {name}", FAIL, str(wrong))


def check_provenance() -> Check:
    """Whether videos can be signed; without that they bear tags and the watermark."""
    try:
        key, reason = provenance.find_key(RenderOptions())
    except VasaError as error:
        key, reason = None, str(error)
    if key is not None:
        return Check("provenance", OK, f"signs as {key.name} ({certificates.keys_dir()})")
    mend = "run `vasa keys init`" if provenance.can_sign() else certificates.INSTALL
    return Check("provenance", OK, f"tags and watermark; {reason}", f"to sign too, {mend}")


def check_disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    seen = f"{free / 1e9:.1f} GB free in {folder}"
    if free < LOW_DISK_BYTES:
        return Check("disk", WARN, seen, "make room: long videos may not fit")
    return Check("disk", OK, seen)
