"""A benchmark's figures as plain values and as text."""

from __future__ import annotations

import os
import platform
import re
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vasa_cli import __version__
from vasa_cli.cores import usable_cores
from vasa_cli.bench.figures import Case, Measured, Stage


@dataclass(frozen=True)
class Row:
    """One case and all its runs."""

    case: Case
    runs: tuple[Measured, ...]

    def median(self, name: str) -> float | None:
        """Of a figure over the runs; None where one lacks it."""
        values = [getattr(run, name) for run in self.runs]
        return None if None in values else statistics.median(values)

    @property
    def stages(self) -> tuple[Stage, ...]:
        return next((run.stages for run in self.runs if run.stages), ())

    @property
    def conv_gflops(self) -> dict[str, float]:
        """What plain convolutions reach, by number format; empty where stages were not measured."""
        return next((dict(run.conv_gflops) for run in self.runs if run.stages), {})

    @property
    def most_fps(self) -> float | None:
        """What the stages allow where every core is always busy."""
        ms = sum(stage.ms for stage in self.stages if not stage.per_video)
        return self.case.cores * 1000 / ms if ms else None


COLUMNS = {  # of the table, with their format
    "start_up_s": ("start-up s", ".1f"),
    "first_frame_s": ("1st frame s", ".1f"),
    "fps": ("fps", ".1f"),
    "times_real_time": ("x real time", ".2f"),
    "steady_fps": ("steady fps", ".1f"),
    "peak_mb": ("MB", ".0f"),
    "ffmpeg_peak_mb": ("ffmpeg MB", ".0f"),
}


def as_json(rows: list[Row]) -> dict[str, Any]:
    """Everything that was measured, in plain values."""
    return {
        "vasa": __version__,
        "machine": {
            "system": platform.platform(),
            "processor": processor(),
            "cores": usable_cores(),
            "precision": rows[0].runs[0].precision,
        },
        "cases": [
            {
                "size": row.case.size,
                "cores": row.case.cores,
                "seconds": row.case.seconds,
                "device": row.case.device,
                "n_frames": row.runs[0].n_frames,
                **{name: row.median(name) for name in COLUMNS},
                "stages_allow_fps": row.most_fps,
                "fps_of_runs": [round(run.fps, 2) for run in row.runs],
                "conv_gflops": row.conv_gflops,
                "stages": [asdict(stage) for stage in row.stages],
            }
            for row in rows
        ],
    }


def table(rows: list[Row]) -> str:
    """The cases, then the stages of each size that has them."""
    lines = [f"{processor()}, networks in {rows[0].runs[0].precision}", ""]
    heads = ["size", "cores", "sound s", *(head for head, _ in COLUMNS.values())]
    lines.append("".join(f"{head:>12}" for head in heads))
    for row in rows:
        cells = [f"{row.case.size}", f"{row.case.cores}", f"{row.case.seconds:g}"]
        for name, (_, form) in COLUMNS.items():
            value = row.median(name)
            cells.append("-" if value is None else f"{value:{form}}")
        lines.append("".join(f"{cell:>12}" for cell in cells))
    for row in rows:
        if row.stages:
            lines += ["", *_stage_lines(row)]
    return "\n".join(lines)


def _stage_lines(row: Row) -> list[str]:
    """One line a stage: its time and share, its memory, and how far it is from its limit."""
    total = sum(stage.ms for stage in row.stages if not stage.per_video)
    lines = [
        f"stages at {row.case.size} pixels, each alone on one core",
        "3x3 convolutions reach "
        + ", ".join(f"{rate:.0f} GFLOP/s in {kind}" for kind, rate in row.conv_gflops.items()),
        f"{'':18}{'ms a frame':>12}{'share':>8}{'MB':>7}{'limit ms':>10}{'times':>7}  limit",
    ]
    for stage in row.stages:
        share = "a video" if stage.per_video else f"{stage.ms / total:.0%}"
        limit = (
            ("", "")
            if stage.limit_ms is None
            else (
                f"{stage.limit_ms:.2f}",
                f"{stage.ms / stage.limit_ms:.1f}",
            )
        )
        memory = "-" if stage.added_mb is None else f"{stage.added_mb:.0f}"
        line = f"{stage.name:18}{stage.ms:12.2f}{share:>8}{memory:>7}{limit[0]:>10}{limit[1]:>7}"
        lines.append(f"{line}  {stage.limit}".rstrip())
    lines.append(
        f"{'together':18}{total:12.2f}        at most {row.most_fps:.1f} fps"
        f" on {row.case.cores} cores"
    )
    return lines


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        told = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        told = None
    return told[1] if told else platform.processor() or os.uname().machine
