"""What `make regress` rests on: the same render passes, and a change of any one option does not."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from vasa_cli.compare import compare
from vasa_cli.config import RenderOptions
from vasa_cli.pipeline import Renderer

BASE = RenderOptions(size=128, num_steps=4, preview_s=0.4)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(device="cpu")


def render(renderer: Renderer, repository: Path, output: Path, **changes: Any) -> Path:
    photo, speech = (repository / "examples" / name for name in ("portrait.jpg", "speech.wav"))
    return renderer.render(photo, speech, output, options=replace(BASE, **changes)).output


@pytest.fixture(scope="module")
def golden(renderer: Renderer, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(renderer, repository, tmp_path_factory.mktemp("golden") / "golden.mp4")


def test_the_same_options_give_the_same_video(
    renderer: Renderer, repository: Path, golden: Path, tmp_path: Path
) -> None:
    comparison = compare(golden, render(renderer, repository, tmp_path / "new.mp4"))
    assert comparison.passed and comparison.min_psnr_db == 100


@pytest.mark.parametrize(
    ("changes", "caught_by"),
    [
        ({"seed": 1}, "psnr"),
        ({"num_steps": 2}, "psnr"),
        ({"guidance_audio": 2.0}, "psnr"),
        ({"crf": 24}, "psnr"),
        ({"label": "AI"}, "psnr"),
        ({"watermark": False}, "ssim"),
        ({"fps": Fraction(24)}, "fps"),
        ({"size": 130}, "size"),
        ({"preview_s": 0.44}, "frames"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_change_of_one_option_is_caught(
    renderer: Renderer,
    repository: Path,
    golden: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    caught_by: str,
) -> None:
    new = render(renderer, repository, tmp_path / "new.mp4", **changes)
    assert caught_by in {check.name for check in compare(golden, new).checks if not check.passed}


def test_there_is_a_golden_video_for_every_job(repository: Path) -> None:
    folder = repository / "examples" / "regress"
    jobs = [json.loads(line) for line in (folder / "jobs.jsonl").read_text().splitlines()]
    assert {path.stem for path in (folder / "golden").iterdir()} == {job["id"] for job in jobs}
