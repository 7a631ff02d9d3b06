"""`vasa batch`: many renders from a manifest, and how far they are."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
import uuid
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping

import click

from vasa_cli import provenance
from vasa_cli.batch import jobs as manifest
from vasa_cli.batch import ledger, plan as planning, storage
from vasa_cli.batch.ledger import Record
from vasa_cli.batch.report import summarize
from vasa_cli.batch.schedule import Pool, run_tasks
from vasa_cli.batch.work import PipelineFactory
from vasa_cli.cli.batch_options import RENDER_PARAMS, OptionFlags, Shard
from vasa_cli.cli.batch_text import plan_json, plan_text, status_text, summary_text
from vasa_cli.cli.render import PATH
from vasa_cli.config import DEVICES
from vasa_cli.cores import usable_cores
from vasa_cli.errors import ProvenanceError, UsageError
from vasa_cli.weights import find_weights_dir

EXECUTORS = ("local", "ray")
SOME_FAILED = 1


class DefaultGroup(click.Group):
    """A group whose first command may be left out: `batch jobs.jsonl` is `batch run jobs.jsonl`."""

    default = "run"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "[OPTIONS] JOBS")
        formatter.write_usage(ctx.command_path, "status [OPTIONS] DIR", prefix=" " * 7)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        click.Command.format_options(self.commands[self.default], ctx, formatter)
        self.format_commands(ctx, formatter)


def _with_render_options(command: click.Command) -> click.Command:
    command.params[1:1] = RENDER_PARAMS  # after JOBS
    return command


@click.group(
    cls=DefaultGroup,
    no_args_is_help=True,
    epilog="\b\nExample:\n  vasa batch jobs.jsonl --workers 2 --log out/jobs.log",
)
def batch() -> None:
    """Render every job of the manifest JOBS, or show how far the jobs in DIR are.

    JOBS is a file of JSON lines or CSV, or - for standard input. Its keys are photo, audio, id,
    output and the options below by their long names; the flags give the defaults. What is done
    already is not done again.
    """


@_with_render_options
@batch.command(
    epilog="\b\nExample:\n  vasa batch run jobs.jsonl --workers 2 --log out/jobs.log",
)
@click.argument("jobs")
@click.option(
    "-o",
    "--output",
    "template",
    metavar="TEMPLATE",
    help="Output of jobs that name none; may hold {id}, {photo}, {audio}, {line}, {seed}, {size}."
    "  [default: {id}.mp4 beside JOBS]",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(manifest.FORMATS),
    default="auto",
    help="Of JOBS; auto looks at its name, or at its content.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and run nothing.")
@click.option("--only", multiple=True, metavar="ID", help="Only this id, or ids like a-*.")
@click.option("--shard", type=Shard(), help="Only part i of n; all parts together are all jobs.")
@click.option("--retry-failed", is_flag=True, help="Try bad input again that has not changed.")
@click.option("-f", "--force", is_flag=True, help="Do all again, and replace outputs that exist.")
@click.option("--abort-on-error", is_flag=True, help="Begin nothing more after a failed job.")
@click.option("--log", type=PATH, help="Append each job's record to this file, as JSON lines.")
@click.option(
    "--executor",
    type=click.Choice(EXECUTORS),
    default="local",
    help="Processes of this machine, or actors of a Ray cluster.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many.  [default: one a GPU, or one per --cores]",
)
@click.option(
    "--cores",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    help="Cores for each worker, when --workers is not given or the executor is ray.",
)
@click.option("--address", help="Of a running Ray cluster.  [default: start one here]")
@click.option(
    "--device", type=click.Choice(DEVICES), default="auto", help="Where the networks run."
)
@click.option(
    "--weights-dir",
    type=PATH,
    help="Folder of the trained weights.  [default: $VASA_WEIGHTS, else those that came with vasa]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the end, or plan, as one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@click.pass_context
def run(
    ctx: click.Context,
    jobs: str,
    *,
    template: str | None,
    file_format: str,
    dry_run: bool,
    only: tuple[str, ...],
    shard: tuple[int, int] | None,
    retry_failed: bool,
    force: bool,
    abort_on_error: bool,
    log: Path | None,
    executor: str,
    workers: int | None,
    cores: int,
    address: str | None,
    device: str,
    weights_dir: Path | None,
    as_json: bool,
    quiet: bool,
    **defaults: Any,
) -> None:
    """Render every job of the manifest JOBS: JSON lines or CSV, - for standard input.

    The word run may be left out. Exits with 0 when all is done, 1 when some jobs failed, 2 when the
    manifest is wrong and nothing was run.
    """
    if address and executor != "ray":
        raise click.UsageError("--address is for --executor ray")
    listed = _read_jobs(ctx, jobs, defaults, template, file_format)
    if shard:
        listed = manifest.take_shard(listed, *shard)
    listed = planning.select(listed, only)
    if executor == "local":  # each machine of a cluster has keys of its own
        _check_keys(listed)
    plan = planning.make_plan(
        listed,
        weights_dir=find_weights_dir(weights_dir),
        run=uuid.uuid4().hex[:12],
        now=time.time(),
        force=force,
        retry_failed=retry_failed,
    )
    if dry_run:
        n_workers = workers or max(1, usable_cores() // cores)
        show = plan_json if as_json else plan_text
        click.echo(show(plan, n_workers=n_workers))
        return
    failed_before = [*plan.failed, *plan.refused]
    records = list(failed_before)
    begun_s = time.monotonic()
    n_workers = 0
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))  # Ray tells of dead workers there
        write_log = stack.enter_context(_log(log))
        for record in failed_before:
            write_log(record)
        if plan.tasks and not (abort_on_error and failed_before):
            ledger.save_many(task.record for task in plan.tasks)
            pool = _make_pool(
                executor,
                n_tasks=len(plan.tasks),
                workers=workers,
                cores=cores,
                address=address,
                device=device,
                weights_dir=weights_dir,
            )
            n_workers = pool.n_workers
            advance = stack.enter_context(_jobs_bar(len(plan.tasks), quiet=quiet or as_json))

            def note(record: Record) -> None:
                records.append(record)
                write_log(record)
                advance()

            run_tasks(plan.tasks, pool, on_record=note, abort_on_error=abort_on_error)
    summary = summarize(
        records,
        n_jobs=plan.n_jobs,
        n_skipped=len(plan.done),
        n_workers=n_workers,
        elapsed_s=time.monotonic() - begun_s,
    )
    failed = [record for record in records if record.status == ledger.FAILED]
    if as_json:
        failures = [record.as_json() for record in failed]
        click.echo(json.dumps(summary.as_json() | {"failed": failures}))
    else:
        click.echo(summary_text(summary, failed))
    ctx.exit(SOME_FAILED if failed else 0)


@batch.command(epilog="\b\nExample:\n  vasa batch status out/")
@click.argument("folder", metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(folder: str, as_json: bool) -> None:
    """Count the jobs whose videos go to DIR and below: done, failed, running, left, speed."""
    seen = ledger.read_status(folder, now=time.time())
    click.echo(json.dumps(dataclasses.asdict(seen)) if as_json else status_text(seen))


def _read_jobs(
    ctx: click.Context,
    source: str,
    defaults: Mapping[str, Any],
    template: str | None,
    file_format: str,
) -> list[manifest.Job]:
    if source == "-":
        content, folder = sys.stdin.buffer.read(), os.getcwd()
    else:
        content, folder = storage.read_bytes(source), storage.parent(source)
    if template is not None:  # a flag's path is the shell's, not the manifest's
        template = storage.resolve(template, os.getcwd())
    try:
        return manifest.read_manifest(
            content,
            source="standard input" if source == "-" else source,
            folder=folder,
            reader=OptionFlags(ctx, {**defaults, "force": False}, folder=folder),
            file_format=file_format,
            template=template,
        )
    except manifest.ManifestError as error:
        for fault in error.faults:
            click.echo(str(fault), err=True)
        raise


def _check_keys(jobs: Iterable[manifest.Job]) -> None:
    """Refuses jobs that must be signed and cannot be; looks at each key once.

    Raises:
        ProvenanceError: the package or a key is missing or wrong.
    """
    first: dict[tuple[object, ...], manifest.Job] = {}
    for job in jobs:
        asked = job.options
        first.setdefault((asked.provenance, asked.certificate, asked.private_key), job)
    faults = []
    for job in first.values():
        try:
            provenance.find_key(job.options)
        except ProvenanceError as error:
            faults.append(f"line {job.line}: {error}")
    if faults:
        raise ProvenanceError(f"nothing was run; {'; '.join(faults)}")


def _make_pool(
    executor: str,
    *,
    n_tasks: int,
    workers: int | None,
    cores: int,
    address: str | None,
    device: str,
    weights_dir: Path | None,
) -> Pool:
    if executor == "ray":
        from vasa_cli.batch.ray import RayPool

        return RayPool(
            PipelineFactory(weights_dir=weights_dir, device=device, threads=cores),
            n_workers=workers,
            cores=cores,
            gpu={"cuda": True, "auto": None}.get(device, False),
            address=address,
            max_workers=n_tasks,
        )
    from vasa_cli.batch.local import LocalPool

    gpus = [] if device in ("cpu", "mps") else _gpus()
    usual = len(gpus) or (1 if device == "mps" else max(1, usable_cores() // cores))
    n_workers = min(workers or usual, n_tasks)
    threads = max(1, usable_cores() // n_workers)
    factory = PipelineFactory(weights_dir=weights_dir, device=device, threads=threads)
    return LocalPool(factory, n_workers=n_workers, threads=threads, gpus=gpus)


def _gpus() -> list[str]:
    """The names by which CUDA can be told to use one GPU only."""
    import torch

    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    n_gpus = torch.cuda.device_count()
    return chosen.split(",")[:n_gpus] if chosen else [str(index) for index in range(n_gpus)]


@contextmanager
def _log(path: Path | None) -> Iterator[Callable[[Record], None]]:
    """Appends records to a file; each line is there as soon as its job has ended."""
    if path is None:
        yield lambda record: None
        return
    try:
        opened = path.open("a", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"log {path} cannot be written: {error.strerror}") from error
    with opened:

        def write(record: Record) -> None:
            opened.write(json.dumps(record.as_json(), ensure_ascii=False) + "\n")
            opened.flush()

        yield write


@contextmanager
def _jobs_bar(total: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A bar over jobs on stderr; nothing where nobody would see it."""
    if quiet or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("rendering"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)
