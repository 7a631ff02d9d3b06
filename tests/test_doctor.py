"""`vasa doctor`: each thing that can be wrong is seen and told with how to mend it."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from vasa_cli.cli import doctor
from vasa_cli.cli.main import main


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["doctor", *map(str, arguments)])


def report(*arguments: object) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit code and the checks by name."""
    result = run("--json", *arguments)
    return result.exit_code, {check["name"]: check for check in json.loads(result.stdout)["checks"]}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `make install`, whatever this interpreter has."""
    versions = {"vasa-cli": "0.1.0", "click": "8.1", "torch": "2.13.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    required = ["click>=8.1", "torch>=2.4", 'pytest>=8; extra == "test"']
    monkeypatch.setattr(doctor, "__version__", "0.1.0")
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: required)
    monkeypatch.setattr(importlib.metadata, "version", version)


def test_a_sound_installation_exits_with_0(installed: None, fake_weights_dir: Path) -> None:
    code, checks = report("--weights-dir", fake_weights_dir)
    assert code == 0
    assert {check["status"] for check in checks.values()} <= {"ok", "warn"}
    assert checks["torch"]["seen"] == "2.13.0"
    assert "pytest" not in checks  # needed for tests only
    assert "cpu" in checks["devices"]["seen"]
    assert int(checks["cpu threads"]["seen"]) >= 1
    assert "ffmpeg version" in checks["ffmpeg"]["seen"]
    assert checks["weights decoder"] == {
        "name": "weights decoder",
        "status": "ok",
        "seen": "whole",
        "mend": "",
    }


def test_the_report_for_people_shows_status_and_mending(
    installed: None, fake_weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=5_000_000))
    result = run("--weights-dir", fake_weights_dir)
    assert result.exit_code == 0  # little room is a warning
    assert "ok    python" in result.stdout
    assert "warn  disk              0.0 GB free" in result.stdout
    assert "-> make room" in result.stdout


def test_damaged_weights_alone_exit_with_4(installed: None, fake_weights_dir: Path) -> None:
    (fake_weights_dir / "motion.safetensors").write_bytes(b"")
    code, checks = report("--weights-dir", fake_weights_dir)
    assert code == 4
    assert checks["weights motion"]["status"] == "fail"
    assert "have 0 bytes" in checks["weights motion"]["seen"]
    assert checks["weights decoder"]["status"] == "ok"


def test_no_weights_exit_with_4(installed: None, tmp_path: Path) -> None:
    code, checks = report("--weights-dir", tmp_path)
    assert code == 4
    assert "no manifest.json in" in checks["weights"]["seen"]


def test_a_missing_package_exits_with_1_and_says_how_to_get_it(
    installed: None, fake_weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["safetensors>=0.4"])
    code, checks = report("--weights-dir", fake_weights_dir)
    assert code == 1
    assert checks["safetensors"]["seen"] == "not installed"
    assert checks["safetensors"]["mend"] == 'run `python -m pip install "safetensors>=0.4"`'


def test_an_ffmpeg_that_does_not_run_exits_with_1(
    installed: None, fake_weights_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "no-ffmpeg"))
    code, checks = report("--weights-dir", fake_weights_dir)
    assert code == 1
    assert checks["ffmpeg"]["status"] == "fail"
    assert "imageio-ffmpeg" in checks["ffmpeg"]["mend"]


def test_an_ffmpeg_without_libx264_exits_with_1(
    installed: None, fake_weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_run_ffmpeg", lambda program, *arguments: "ffmpeg version 1")
    code, checks = report("--weights-dir", fake_weights_dir)
    assert code == 1
    assert checks["ffmpeg libx264"]["status"] == "fail"


def test_a_checkout_that_is_not_installed_is_a_warning(
    fake_weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def requires(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    code, checks = report("--weights-dir", fake_weights_dir)
    assert code == 0
    assert checks["vasa"]["status"] == "warn"
    assert checks["vasa"]["mend"] == "run `make install`"


def test_another_installed_version_is_a_warning(
    installed: None, fake_weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "__version__", "0.2.0")
    code, checks = report("--weights-dir", fake_weights_dir)
    assert (code, checks["vasa"]["status"]) == (0, "warn")
    assert checks["vasa"]["seen"] == "0.2.0, installed as 0.1.0"


def test_signing_is_reported_and_how_to_begin_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VASA_KEYS", str(tmp_path))
    monkeypatch.setattr(doctor.provenance, "can_sign", lambda: False)
    check = doctor.check_provenance()
    assert (check.status, check.name) == ("ok", "provenance")
    assert check.seen == "tags and watermark; not signed: c2pa-python is not installed"
    assert "vasa-cli[provenance]" in check.mend
    monkeypatch.setattr(doctor.provenance, "can_sign", lambda: True)
    check = doctor.check_provenance()
    assert (check.status, check.mend) == ("ok", "to sign too, run `vasa keys init`")


def test_an_old_python_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OLDEST_PYTHON", (99, 0))
    assert doctor.check_python().status == "fail"
