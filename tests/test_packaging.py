"""The wheel: what is in it, and that it runs outside the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from vasa_cli import __version__
from vasa_cli.weights import WEIGHTS_NAMES


def run(*command: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={"PATH": "", "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def wheel(repository: Path, tmp_path: Path, fake_weights_dir: Path) -> Path:
    """A wheel built offline from a copy of the checkout with small weights."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(repository / "vasa_cli", source / "vasa_cli", ignore=ignored)
    shutil.copytree(fake_weights_dir, source / "weights")
    (source / "weights" / "README.md").write_text("card")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    run("-m", "pip", "wheel", *options, "--wheel-dir", tmp_path / "dist", ".", cwd=source)
    (built,) = (tmp_path / "dist").iterdir()
    return built


@pytest.mark.slow
def test_an_installed_wheel_carries_the_weights_and_the_command(
    wheel: Path, tmp_path: Path, repository: Path
) -> None:
    assert wheel.name == f"vasa_cli-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        metadata = next(name for name in names if name.endswith("entry_points.txt"))
        assert "vasa = vasa_cli.cli.main:main" in opened.read(metadata).decode()
    expected = {f"vasa_cli/_weights/{name}.safetensors" for name in WEIGHTS_NAMES}
    assert expected | {"vasa_cli/_weights/manifest.json", "vasa_cli/_weights/README.md"} <= names

    modules = (path.relative_to(repository) for path in (repository / "vasa_cli").rglob("*.py"))
    assert {str(path) for path in modules} <= names, "setup.cfg does not list every package"
    assert not [name for name in names if name.startswith(("tests/", "examples/", "weights/"))]

    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    options = ("--quiet", "--no-deps", "--no-index", "--target", site)
    run("-m", "pip", "install", *options, wheel, cwd=elsewhere)
    start = "from vasa_cli.cli.main import main; main(prog_name='vasa')"
    version = run("-c", start, "--version", cwd=elsewhere, PYTHONPATH=str(site))
    assert version.strip() == f"vasa, version {__version__}"
    verified = run("-c", start, "weights", "verify", cwd=elsewhere, PYTHONPATH=str(site))
    assert verified.split() == [word for name in WEIGHTS_NAMES for word in (name, "ok")]


def test_the_pinned_torch_stands_in_one_place(repository: Path) -> None:
    assert "torch==" not in (repository / "setup.cfg").read_text()
    assert (repository / "Makefile").read_text().count("torch==") == 1
