"""Paths on disk and on other storage: fsspec's memory, and a real server that speaks S3."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Iterator

import pytest

from tests.batch_lot import Lot, make_lot
from tests.conftest import run_vasa
from tests.fake_renderer import FakeFactory, read_notes
from vasa_cli.batch import storage
from vasa_cli.errors import InputError, ResourceError, UsageError

HAS_FSSPEC = importlib.util.find_spec("fsspec") is not None
HAS_S3 = all(importlib.util.find_spec(name) for name in ("s3fs", "moto", "flask"))
needs_fsspec = pytest.mark.skipif(not HAS_FSSPEC, reason="fsspec is not installed")


@pytest.mark.parametrize(
    ("text", "folder", "resolved"),
    [
        ("a.png", "/in", "/in/a.png"),
        ("../a.png", "/in/x", "/in/a.png"),
        ("/a.png", "/in", "/a.png"),
        ("s3://b/a.png", "/in", "s3://b/a.png"),
        ("a.png", "s3://b/in", "s3://b/in/a.png"),
        ("../a.png", "s3://b/in", "s3://b/a.png"),
        ("/a.png", "s3://b/in", "/a.png"),
    ],
)
def test_relative_paths_are_from_the_folder(text: str, folder: str, resolved: str) -> None:
    assert storage.resolve(text, folder) == resolved


def test_parts_of_paths() -> None:
    assert (storage.parent("s3://b/x/a.png"), storage.name("s3://b/x/a.png")) == (
        "s3://b/x",
        "a.png",
    )
    assert (storage.parent("/x/a.png"), storage.name("/x/a.png")) == ("/x", "a.png")


@pytest.fixture(params=["disk", pytest.param("memory", marks=needs_fsspec)])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "disk" else f"memory://{tmp_path}"


def test_what_is_written_is_read(folder: str, tmp_path: Path) -> None:
    storage.write_many({f"{folder}/a.mp4.json": b"1", f"{folder}/sub.mp4.json": b"22"})
    storage.write_bytes(f"{folder}/.hidden.mp4.json", b"3")
    storage.write_bytes(f"{folder}/abc", b"abc")
    assert storage.read_bytes(f"{folder}/a.mp4.json") == b"1"
    assert storage.n_bytes(f"{folder}/sub.mp4.json") == 2
    assert storage.n_bytes(f"{folder}/none") is None
    found = storage.find(folder, ".mp4.json")
    assert [storage.read_bytes(path) for path in found] == [b"1", b"22"]
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180, B.1
    assert storage.sha256(f"{folder}/abc") == digest
    assert storage.sha256(f"{folder}/none") is None
    with pytest.raises(InputError, match="none"):
        storage.read_bytes(f"{folder}/none")
    (tmp_path / "scratch").mkdir()
    assert storage.stage(f"{folder}/abc", tmp_path / "scratch").read_bytes() == b"abc"


def test_a_folder_that_is_not_there_has_no_status(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        storage.find(str(tmp_path / "none"), "")


@needs_fsspec
def test_a_storage_that_nobody_knows_is_misuse() -> None:
    with pytest.raises(UsageError, match="nowhere://x cannot be opened"):
        storage.read_bytes("nowhere://x")


def test_without_fsspec_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(UsageError, match=r"pip install 'vasa-cli\[storage\]'"):
        storage.read_bytes("s3://b/jobs.jsonl")


@needs_fsspec
def test_a_storage_that_breaks_is_a_resource_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("connection reset")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", fail)
    with pytest.raises(ResourceError, match="connection reset"):
        storage.write_bytes("memory://x/a", b"")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A bucket on a server of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
    }.items():
        monkeypatch.setenv(name, value)
    with (tmp_path / "moto.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=log,
        )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/moto-api/").read()
                break
            except OSError:
                time.sleep(0.1)
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("vasa-test")
        yield "s3://vasa-test/nightly"
    finally:
        server.kill()
        server.wait()


@pytest.mark.slow
@pytest.mark.skipif(not HAS_S3, reason="s3fs or moto is not installed")
def test_manifest_inputs_and_outputs_may_all_be_on_object_storage(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vasa_cli.cli.batch.PipelineFactory", FakeFactory)
    lot: Lot = make_lot(tmp_path)
    for path in (lot.photo(), lot.photo("no face"), lot.folder / "speech.wav"):
        storage.write_bytes(f"{bucket}/{path.name}", path.read_bytes())
    lines = [
        {"id": "a", "photo": "good.png", "audio": "speech.wav"},
        {"id": "b", "photo": "good.png", "audio": str(lot.folder / "speech.wav"), "seed": 2},
        {"id": "c", "photo": "no-face.png", "audio": "speech.wav"},
        {"id": "d", "photo": "gone.png", "audio": "speech.wav"},
        {"id": "e", "photo": "good.png", "audio": "speech.wav", "output": f"{tmp_path}/e.mp4"},
    ]
    content = "\n".join(json.dumps(line) for line in lines).encode()
    storage.write_bytes(f"{bucket}/jobs.jsonl", content)
    arguments = lot.arguments(f"{bucket}/jobs.jsonl", "--workers", 1, "--json")
    result = run_vasa(*arguments)
    assert result.exit_code == 1, result.output
    plain = json.loads(result.stdout)
    assert (plain["n_done"], plain["n_failed"]) == (3, 2)
    assert {one["id"]: one["exit_code"] for one in plain["failed"]} == {"c": 3, "d": 3}
    sidecar = json.loads(storage.read_bytes(f"{bucket}/a.mp4.json"))
    assert sidecar["status"] == "done"
    assert storage.sha256(f"{bucket}/a.mp4") == sidecar["sha256"]
    assert (tmp_path / "e.mp4").exists()
    # Copied once, so encoded once: two portraits were seen, and one of them only failed.
    assert len(read_notes(lot.weights_dir, "encoded")) == 2
    status = run_vasa("batch", "status", bucket).stdout
    assert status.startswith("2 done, 2 failed, 0 running, 0 left")
    again = json.loads(run_vasa(*arguments).stdout)
    assert (again["n_done"], again["n_skipped"], again["n_failed"]) == (0, 3, 2)
