from __future__ import annotations

import errno
import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Iterator

import click
import pytest

import vasa_cli
from tests.conftest import LibraryCall, run_vasa as run
from vasa_cli import errors
from vasa_cli.cli import progress as progress_module
from vasa_cli.cli.main import COMMANDS, main
from vasa_cli.cli.progress import count_text, progress_bar
from vasa_cli.config import Progress
from vasa_cli.weights import WEIGHTS_NAMES


def walk(
    command: click.Command = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command of the real table, with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from walk(inner, (*path, name))


WALKED = list(walk())
RENDER = dict(WALKED)[("render",)]


# Help


@pytest.mark.parametrize("path", [path for path, _ in WALKED], ids=" ".join)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_help_ends_with_a_line_to_copy(path: tuple[str, ...], flag: str) -> None:
    result = run(*path, flag)
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: vasa")
    *_, heading, example = result.stdout.rstrip().splitlines()
    assert heading.strip() == "Example:"
    assert example.strip().startswith(" ".join(("vasa", *path)).strip())


def test_every_command_of_the_table_exists() -> None:
    for name, target in COMMANDS.items():
        module, attribute = target.split(":")
        if importlib.util.find_spec(module) is not None:
            assert isinstance(getattr(importlib.import_module(module), attribute), click.Command)
    assert set(COMMANDS) >= {"render", "doctor", "weights", "train"}


def test_version_is_the_packages() -> None:
    assert run("--version").stdout == f"vasa, version {vasa_cli.__version__}\n"


def test_an_unknown_command_is_misuse() -> None:
    result = run("sing")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "No such command 'sing'" in result.stderr


def test_defaults_are_shown_and_are_those_of_the_options() -> None:
    help_text = " ".join(run("render", "-h").stdout.split())
    for words in (
        "[default: 512; 128<=x<=1024]",
        "[default: 25]",
        "[default: 18; 0<=x<=51]",
        "[default: face]",
        "[default: auto]",
    ):
        assert words in help_text


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["render", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str], repository: Path) -> None:
    program = (
        "import sys\n"
        "from vasa_cli.cli.main import main\n"
        "try:\n"
        "    main(sys.argv[1:], prog_name='vasa')\n"
        "finally:\n"
        "    heavy = {'torch', 'numpy', 'librosa', 'PIL', 'safetensors', 'rich', 'imageio'}\n"
        "    print('heavy:', sorted(heavy & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("heavy: []")


def test_importing_the_package_is_light_and_its_api_complete(repository: Path) -> None:
    program = (
        "import sys, vasa_cli\n"
        "from vasa_cli import RenderOptions, RenderResult, Progress, VasaError\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "print(RenderOptions().size)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout == "512\n"


def test_the_api_loads_the_renderer_when_asked(call: LibraryCall) -> None:
    vasa_cli.Renderer(device="cpu")
    assert call.loaded == {"device": "cpu"}
    with pytest.raises(AttributeError, match="no attribute 'Singer'"):
        vasa_cli.Singer
    assert all(hasattr(vasa_cli, name) for name in vasa_cli.__all__)


# Errors


@pytest.mark.parametrize(
    ("error", "exit_code", "line"),
    [
        (errors.VasaError("plain"), 1, "error: plain"),
        (errors.UsageError("no such device"), 2, "error: no such device"),
        (errors.InputError("no face\nfound"), 3, "error: no face found"),
        (errors.WeightsError("damaged"), 4, "error: damaged"),
        (errors.ResourceError("ffmpeg died"), 5, "error: ffmpeg died"),
        (errors.ProvenanceError("no mark"), 6, "error: no mark"),
        (MemoryError(), 5, "error: out of memory; close other programs or give a smaller --size"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            5,
            "error: out of memory; close other programs or give a smaller --size",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "talk.mp4"),
            5,
            "error: No space left on device (talk.mp4); free some and run again",
        ),
        (
            ValueError("odd shape"),
            1,
            "error: unexpected ValueError: odd shape; please report it"
            " (VASA_DEBUG=1 shows the traceback)",
        ),
        (
            EOFError("short file"),
            1,
            "error: unexpected EOFError: short file; please report it"
            " (VASA_DEBUG=1 shows the traceback)",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_each_error_is_one_line_and_its_exit_code(
    call: LibraryCall,
    files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    exit_code: int,
    line: str,
    flags: list[str],
) -> None:
    monkeypatch.delenv("VASA_DEBUG", raising=False)

    def fail() -> None:
        raise error

    call.act = fail
    result = run("render", *files, *flags)
    assert (result.exit_code, result.stdout, result.stderr) == (exit_code, "", line + "\n")


def test_debug_shows_the_traceback_before_the_line(
    call: LibraryCall, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VASA_DEBUG", "1")
    call.act = lambda: print({}["missing"])
    lines = run("render", *files).stderr.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1].startswith("error: unexpected KeyError: 'missing'")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to catch")
def test_a_batch_systems_sigterm_ends_as_ctrl_c_does(
    call: LibraryCall, files: tuple[Path, Path]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    call.act = lambda: os.kill(os.getpid(), signal.SIGTERM)
    result = run("render", *files)
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")
    assert signal.getsignal(signal.SIGTERM) is before


# Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_no_bar_without_a_terminal_or_when_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    with progress_bar(quiet=False) as callback:
        assert callback is None  # pytest's stderr is a file
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(quiet=True) as callback:
        assert callback is None


def test_a_terminal_sees_stage_frames_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    clock = iter(float(second) for second in range(1000))
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with progress_bar(quiet=False) as callback:
        assert callback is not None
        callback(Progress("photo", 1, 1))
        callback(Progress("frames", 30, 90))
        callback(Progress("a stage of later", 1, 2))
        callback.bar.refresh()  # type: ignore[attr-defined]
        callback(Progress("frames", 90, 90))
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert "a stage of later" in shown and "1/2" in shown
    assert "drawing frames" in shown
    assert "90/90 frames, 90.0 fps" in shown


def test_frames_come_with_their_speed() -> None:
    assert count_text(Progress("frames", 30, 90), 2.0) == "30/90 frames, 15.0 fps"
    assert count_text(Progress("frames", 0, 90), 0.0) == "0/90 frames"
    assert count_text(Progress("motion", 3, 10), 2.0) == "3/10"


# Weights


def test_weights_list_shows_every_file(fake_weights_dir: Path) -> None:
    lines = run("weights", "list", "--weights-dir", fake_weights_dir).stdout.splitlines()
    assert lines[0] == f"weights 0.0.1 in {fake_weights_dir}"
    assert lines[1].split() == [
        "detector",
        "0.00",
        "MB",
        "Apache-2.0",
        *"made up for detector".split(),
    ]
    assert len(lines) == 1 + len(WEIGHTS_NAMES)


def test_weights_list_as_json_is_the_manifest(fake_weights_dir: Path) -> None:
    printed = json.loads(run("weights", "list", "--json", "--weights-dir", fake_weights_dir).stdout)
    assert printed["weights_dir"] == str(fake_weights_dir)
    manifest = json.loads((fake_weights_dir / "manifest.json").read_text())
    assert (printed["version"], printed["files"]) == (manifest["version"], manifest["files"])


def test_whole_weights_verify_with_0(fake_weights_dir: Path) -> None:
    result = run("weights", "verify", "--weights-dir", fake_weights_dir)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "decoder    ok\n" in result.stdout
    as_json = run("weights", "verify", "--json", "--weights-dir", fake_weights_dir)
    assert json.loads(as_json.stdout)["ok"] is True


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_damaged_weights_verify_with_4(fake_weights_dir: Path, flags: list[str]) -> None:
    (fake_weights_dir / "motion.safetensors").unlink()
    result = run("weights", "verify", "--weights-dir", fake_weights_dir, *flags)
    assert result.exit_code == 4
    assert "motion.safetensors are missing" in result.stdout
    assert result.stderr.startswith(f"error: 1 of {len(WEIGHTS_NAMES)} weights in ")


def test_weights_are_found_by_the_variable(
    fake_weights_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VASA_WEIGHTS", str(fake_weights_dir))
    assert run("weights", "verify").exit_code == 0
    result = run("weights", "verify", "--weights-dir", tmp_path / "none")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "no manifest.json in" in result.stderr


# README


def readme(repository: Path) -> str:
    return (repository / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [path for path, _ in WALKED if path], ids=" ".join)
def test_the_readme_names_every_command(path: tuple[str, ...], repository: Path) -> None:
    named = " ".join(("vasa", *path[:1])) if path[0] == "train" else " ".join(("vasa", *path))
    assert f"`{named}" in readme(repository)


@pytest.mark.parametrize("parameter", RENDER.params, ids=lambda parameter: parameter.name)
def test_the_readme_names_every_option_and_default(
    parameter: click.Parameter, repository: Path
) -> None:
    if isinstance(parameter, click.Argument):
        return
    rows = [line for line in readme(repository).splitlines() if line.startswith("| `-")]
    row = next((row for row in rows if f"`{parameter.opts[-1]}`" in row), "")
    assert all(f"`{name}`" in row for name in parameter.opts)
    if isinstance(parameter.default, (int, float, str, Fraction)) and parameter.default:
        shown = "on" if parameter.default is True else str(parameter.default)
        assert row.split("|")[2].strip() == shown


def test_the_readme_names_every_exit_code(repository: Path) -> None:
    for code in (0, 1, 2, 3, 4, 5, 6, 130):
        assert f"| {code} |" in readme(repository)


def test_the_changelog_has_this_version(repository: Path) -> None:
    assert f"## {vasa_cli.__version__}\n" in (repository / "CHANGELOG.md").read_text()
