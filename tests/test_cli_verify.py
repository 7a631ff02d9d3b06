"""`vasa verify` and `vasa keys`: what they print for people and programs, and their exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import run_vasa as run
from tests.videos import write_video
from vasa_cli import provenance
from vasa_cli.config import RenderOptions
from vasa_cli.provenance import SOURCE_TYPE, Stamp

from vasa_cli.watermark import Watermarker

needs_c2pa = pytest.mark.skipif(not provenance.can_sign(), reason="vasa[provenance] is absent")
SIZE = 128


@pytest.fixture(autouse=True)
def keys_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("VASA_KEYS", str(tmp_path / "keys"))
    return tmp_path / "keys"


def write(path: Path, weights_dir: Path, *, watermark: bool = True) -> Path:
    """A short grey video with vasa's marks."""
    options = RenderOptions(watermark=watermark)
    stamp = Stamp(options, output=path, photo=path, weights_dir=weights_dir)
    frame = np.full((SIZE, SIZE, 3), 120, np.uint8)
    if watermark:
        frame = Watermarker(SIZE, SIZE).apply(frame)
    return write_video(path, [frame] * 2, metadata=stamp.metadata, finish=stamp.finish)


@pytest.fixture
def marked(tmp_path: Path, fake_weights_dir: Path) -> Path:
    return write(tmp_path / "marked.mp4", fake_weights_dir)


@pytest.fixture
def plain(tmp_path: Path, fake_weights_dir: Path) -> Path:
    return write(tmp_path / "plain.mp4", fake_weights_dir, watermark=False)


def test_a_marked_video_holds_and_each_layer_has_its_line(marked: Path) -> None:
    result = run("verify", marked)
    assert (result.exit_code, result.stderr) == (0, "")
    name, tags, credentials, watermark, conclusion = result.stdout.splitlines()
    assert name == str(marked)
    assert tags == "  tags         say AI-generated: AI-generated: a portrait made to speak by vasa"
    assert credentials == "  credentials  none"
    assert watermark.startswith("  watermark    found (score ")
    assert conclusion.startswith("  vasa made this picture or the larger part of it; by whom")


def test_a_video_with_tags_alone_does_not_hold(plain: Path) -> None:
    result = run("verify", plain)
    assert result.exit_code == 1
    assert "watermark    not found (score " in result.stdout
    assert "anyone can write tags" in result.stdout


def test_json_has_every_layer_of_every_file(marked: Path, plain: Path) -> None:
    result = run("verify", marked, plain, "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert (report["ok"], report["errors"]) == (False, [])
    first, second = report["files"]
    assert (first["path"], first["ok"], second["ok"]) == (str(marked), True, False)
    assert first["tags"]["digital_source_type"] == SOURCE_TYPE
    assert first["credentials"]["state"] == "none"
    assert first["watermark"]["found"] and first["watermark"]["z"] > 6.5
    assert first["watermark"]["false_alarm"] < 1e-4
    assert first["watermark"]["n_frames"] == 2
    assert json.loads(run("verify", marked, "--json").stdout)["ok"] is True


def test_one_missing_file_is_bad_input(tmp_path: Path) -> None:
    result = run("verify", tmp_path / "missing.mp4")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "missing.mp4 does not exist" in result.stderr


def test_of_several_files_the_others_are_still_read(marked: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("hello")
    result = run("verify", text, marked)
    assert result.exit_code == 1
    assert f"error: {text} is not a video" in result.stderr
    assert f"{marked}\n" in result.stdout
    report = json.loads(run("verify", text, marked, "--json").stdout)
    assert (report["ok"], len(report["files"]), len(report["errors"])) == (False, 1, 1)


def test_no_file_is_misuse() -> None:
    assert run("verify").exit_code == 2


def test_a_root_that_cannot_be_read_exits_with_6(marked: Path, tmp_path: Path) -> None:
    result = run("verify", marked, "--trust", tmp_path / "missing.pem")
    assert (result.exit_code, result.stdout) == (6, "")
    assert "root certificate" in result.stderr


@needs_c2pa
def test_keys_are_made_shown_and_sign(
    keys_folder: Path, tmp_path: Path, fake_weights_dir: Path
) -> None:
    made = run("keys", "init", "--name", "Acme Studio")
    assert made.exit_code == 0
    assert f"made keys of Acme Studio in {keys_folder}, valid until 20" in made.stdout
    assert f"--trust {keys_folder / 'root.pem'}" in made.stdout
    path = write(tmp_path / "signed.mp4", fake_weights_dir)
    result = run("verify", path)
    assert result.exit_code == 0
    assert "credentials  trusted: signed by Acme Studio with vasa " in result.stdout
    assert "The watermark agrees." in result.stdout
    root = shutil.copy(keys_folder / "root.pem", tmp_path / "acme.pem")
    shutil.rmtree(keys_folder)
    assert "valid, of a signer not known here: Acme Studio" in run("verify", path).stdout
    assert "trusted: signed by Acme" in run("verify", path, "--trust", root).stdout


@needs_c2pa
def test_a_changed_video_is_told(tmp_path: Path, fake_weights_dir: Path) -> None:
    run("keys", "init")
    path = write(tmp_path / "signed.mp4", fake_weights_dir)
    data = bytearray(path.read_bytes())
    data[-50] ^= 1
    path.write_bytes(data)
    result = run("verify", path)
    assert result.exit_code == 1
    assert "credentials  invalid: " in result.stdout
    assert "changed after it was signed" in result.stdout


@needs_c2pa
def test_keys_are_not_replaced_without_force(keys_folder: Path) -> None:
    assert run("keys", "init").exit_code == 0
    before = (keys_folder / "signer.key").read_bytes()
    again = run("keys", "init")
    assert again.exit_code == 2
    assert f"keys exist in {keys_folder}; give --force" in again.stderr
    assert (keys_folder / "signer.key").read_bytes() == before
    assert run("keys", "init", "--force").exit_code == 0
    assert (keys_folder / "signer.key").read_bytes() != before


@needs_c2pa
def test_show_says_whose_keys_they_are_and_nothing_secret(keys_folder: Path) -> None:
    run("keys", "init", "--name", "Acme Studio")
    shown = run("keys", "show", "--json")
    report = json.loads(shown.stdout)
    assert (report["name"], report["folder"]) == ("Acme Studio", str(keys_folder))
    assert len(report["certificate_sha256"]) == 64
    assert "PRIVATE" not in shown.stdout
    assert "name                Acme Studio" in run("keys", "show").stdout


def test_show_without_keys_exits_with_6(keys_folder: Path) -> None:
    result = run("keys", "show")
    assert (result.exit_code, result.stdout) == (6, "")
    assert f"no keys in {keys_folder}; run `vasa keys init`" in result.stderr


def test_init_without_the_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cryptography", None)
    result = run("keys", "init")
    assert result.exit_code == 6
    assert 'cryptography; run `python -m pip install "vasa-cli[provenance]"`' in result.stderr
