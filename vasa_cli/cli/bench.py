"""`vasa bench`: how fast this machine renders, and what holds it up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from vasa_cli.cli.render import PATH, FiniteFloat
from vasa_cli.config import DEVICES, MAX_SPEECH_S, MIN_SPEECH_S, SIZE_RANGE

SIZES, SECONDS = (256, 512, 1024), (10.0,)


@click.command(
    epilog="\b\nExample:\n  vasa bench photo.png speech.wav --size 512 --seconds 30 --runs 3"
)
@click.argument("photo", type=PATH)
@click.argument("speech", type=PATH)
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(*SIZE_RANGE),
    metavar="PIXELS",
    multiple=True,
    default=SIZES,
    help="Side of the video; may be repeated.",
)
@click.option(
    "--cores",
    type=click.IntRange(min=1),
    metavar="N",
    multiple=True,
    help="Cores to use; may be repeated.  [default: 1 and 2, as far as there are]",
)
@click.option(
    "--seconds",
    type=FiniteFloat(min=MIN_SPEECH_S, max=MAX_SPEECH_S),
    metavar="S",
    multiple=True,
    default=SECONDS,
    help="Of sound, repeated where it is shorter; may be given again.",
)
@click.option(
    "--runs", type=click.IntRange(min=1), metavar="N", default=1, help="Of each; medians are told."
)
@click.option(
    "--device", type=click.Choice(DEVICES), default="auto", help="Where the networks run."
)
@click.option(
    "-o", "--output", type=PATH, help="Folder for bench.json, bench.txt and the plot bench.png."
)
@click.option("--json", "as_json", is_flag=True, help="Print all figures as one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="Do not say what is being measured.")
@click.option(
    "--weights-dir",
    type=PATH,
    help="Folder of the trained weights.  [default: $VASA_WEIGHTS, else those that came with vasa]",
)
def bench(
    photo: Path,
    speech: Path,
    *,
    sizes: tuple[int, ...],
    cores: tuple[int, ...],
    seconds: tuple[float, ...],
    runs: int,
    device: str,
    output: Path | None,
    as_json: bool,
    quiet: bool,
    weights_dir: Path | None,
) -> None:
    """Measure how fast PHOTO speaks SPEECH on this machine.

    Each render is a process of its own, timed from its start. Then every stage is timed alone on
    one core, beside what the machine could do at best. Let nothing else run meanwhile.
    """
    from vasa_cli.audio import check_input
    from vasa_cli.bench import report
    from vasa_cli.bench.case import run
    from vasa_cli.bench.figures import Case
    from vasa_cli.cores import usable_cores
    from vasa_cli.errors import UsageError

    check_input(photo, kind="picture")
    check_input(speech, kind="sound")
    there = usable_cores()
    if max(cores, default=1) > there:
        raise UsageError(f"--cores {max(cores)} are not there; this machine has {there}")
    if output is not None and output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file; name a folder for the figures")
    cases = [
        Case(
            photo=photo,
            speech=speech,
            size=size,
            cores=n_cores,
            seconds=length_s,
            device=device,
            weights_dir=weights_dir,
        )
        for size in dict.fromkeys(sizes)
        for n_cores in dict.fromkeys(cores or tuple(n for n in (1, 2) if n <= there))
        for length_s in dict.fromkeys(seconds)
    ]
    rows: list[report.Row] = []
    for case in cases:
        measured = []
        for k in range(runs):
            if not quiet:
                told = f"{case.size} pixels, {case.cores} cores, {case.seconds:g} s of sound"
                click.echo(f"{told}, run {k + 1} of {runs}", err=True)
            wants_stages = k == 0 and case.size not in (row.case.size for row in rows if row.stages)
            measured.append(run(replace(case, with_stages=wants_stages)))
        rows.append(report.Row(case, tuple(measured)))
    figures, text = json.dumps(report.as_json(rows), indent=2), report.table(rows)
    if output is not None:
        from vasa_cli.bench.plot import draw

        output.mkdir(parents=True, exist_ok=True)
        (output / "bench.json").write_text(figures + "\n", encoding="utf-8")
        (output / "bench.txt").write_text(text + "\n", encoding="utf-8")
        draw(rows).save(output / "bench.png")
    click.echo(figures if as_json else text)
