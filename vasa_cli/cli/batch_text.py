"""What `vasa batch` prints for a reader: the plan, the end, and the status."""

from __future__ import annotations

import json
from typing import Sequence

from vasa_cli.batch.ledger import Record, Status
from vasa_cli.batch.plan import Plan, input_files
from vasa_cli.batch.report import Summary


def plan_text(plan: Plan, *, n_workers: int) -> str:
    """One line a job and the sums."""
    missing = set(plan.missing)
    rows = [("id", "plan", "output", "")]
    for task in plan.tasks:
        gone = [path for path in input_files(task.job) if path in missing]
        note = f"missing: {', '.join(gone)}" if gone else f"{task.record.expected_s:.1f} s"
        rows.append((task.job.id, "run", task.job.output, note))
    rows += [(record.id, "done", record.output, "") for record in plan.done]
    rows += [
        (record.id, "failed", record.output, record.error)
        for record in (*plan.failed, *plan.refused)
    ]
    time_s = plan.expected_time_s(n_workers=n_workers)
    sums = (
        f"{plan.n_jobs} jobs: {len(plan.tasks)} to run, {len(plan.done)} done before,"
        f" {len(plan.failed) + len(plan.refused)} failed before; {len(missing)} inputs missing;"
        f" about {clock(time_s)} with {_count(n_workers, 'worker')}"
    )
    return f"{table(rows)}\n{sums}"


def plan_json(plan: Plan, *, n_workers: int) -> str:
    """The same for programs."""
    plain = {
        "n_jobs": plan.n_jobs,
        "run": [task.job.id for task in plan.tasks],
        "done": [record.id for record in plan.done],
        "failed": [record.id for record in (*plan.failed, *plan.refused)],
        "missing": list(plan.missing),
        "n_workers": n_workers,
        "expected_time_s": round(plan.expected_time_s(n_workers=n_workers), 1),
    }
    return json.dumps(plain)


def summary_text(summary: Summary, failed: Sequence[Record]) -> str:
    """The failed jobs as a table, then the run in numbers."""
    lines = []
    if failed:
        rows = [("id", "exit", "tries", "error")]
        for record in failed:
            tries = str(record.attempts or "-")
            rows.append((record.id, str(record.exit_code), tries, " ".join(record.error.split())))
        lines.append(table(rows))
    lines.append(
        f"{_count(summary.n_jobs, 'job')}: {summary.n_done} done, {summary.n_skipped} done before,"
        f" {summary.n_failed} failed, {summary.n_rest} not run"
    )
    if summary.n_done:
        lines.append(
            f"{summary.n_frames} frames in {clock(summary.elapsed_s)} by"
            f" {_count(summary.n_workers, 'worker')}: {summary.render_fps:g} frames a second,"
            f" {summary.real_time_factor:g} s for a second of video"
        )
        stages = (f"{stage} {seconds:.1f} s" for stage, seconds in summary.stages_s.items())
        lines.append(f"by stage: {', '.join(stages)}")
    return "\n".join(lines)


def status_text(status: Status) -> str:
    """Counts, speed and time left."""
    counts = (
        f"{status.n_done} done, {status.n_failed} failed, {status.n_running} running,"
        f" {status.n_left} left"
    )
    made = f"{status.n_frames} frames, {clock(status.duration_s)} of video"
    if status.speed is None:
        return f"{counts}\n{made}"
    pace = f"{status.speed:.2f} s of video a second"
    left = "" if status.left_s is None else f", {clock(status.left_s)} to go"
    return f"{counts}\n{made}; {pace}{left}"


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns as wide as what is in them; the last is left as it is."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    widths[-1] = 0
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in padded)


def clock(seconds: float) -> str:
    """A length of time: 9.5 s, 12:05 or 3:00:00."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
