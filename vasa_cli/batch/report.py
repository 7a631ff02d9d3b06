"""What a batch came to: counts, and how fast it was."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from vasa_cli.batch.ledger import DONE, FAILED, Record


@dataclass(frozen=True)
class Summary:
    """One run in numbers; "skipped" is what was done before, "rest" what an abort left."""

    n_jobs: int
    n_done: int
    n_skipped: int
    n_failed: int
    n_rest: int
    n_workers: int
    n_frames: int
    duration_s: float  # of the videos made
    elapsed_s: float  # wall clock of the run
    render_fps: float  # frames a second of all workers together
    real_time_factor: float  # seconds of work for a second of video; below 1 is faster than live
    stages_s: Mapping[str, float]  # summed over workers

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self)) | {"stages_s": dict(self.stages_s)}


def summarize(
    records: Sequence[Record], *, n_jobs: int, n_skipped: int, n_workers: int, elapsed_s: float
) -> Summary:
    """The numbers of a run.

    Args:
        records: of all jobs that ended in this run, or had failed for good before.
    """
    done = [record for record in records if record.status == DONE]
    n_failed = sum(record.status == FAILED for record in records)
    n_frames = sum(record.n_frames for record in done)
    duration_s = sum(record.duration_s for record in done)
    stages: Counter[str] = Counter()
    for record in done:
        stages.update(record.stages_s)
    return Summary(
        n_jobs=n_jobs,
        n_done=len(done),
        n_skipped=n_skipped,
        n_failed=n_failed,
        n_rest=n_jobs - n_skipped - len(records),
        n_workers=n_workers,
        n_frames=n_frames,
        duration_s=round(duration_s, 3),
        elapsed_s=round(elapsed_s, 3),
        render_fps=round(n_frames / max(elapsed_s, 1e-3), 2),
        real_time_factor=round(elapsed_s / duration_s, 3) if duration_s else 0.0,
        stages_s={stage: round(seconds, 3) for stage, seconds in stages.items()},
    )
