"""`vasa batch --executor ray` on a real Ray cluster of this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.batch_lot import Lot, make_lot
from tests.conftest import run_vasa
from tests.fake_renderer import FakeFactory
from tests.test_batch_run import counts, mixed_jobs
from vasa_cli.batch.ray import RayPool
from vasa_cli.errors import UsageError

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="ray is not installed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Four of Ray's cores, which need not be the machine's."""
    import ray

    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def lot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lot:
    monkeypatch.setattr("vasa_cli.cli.batch.PipelineFactory", FakeFactory)
    return make_lot(tmp_path)


def summary(lot: Lot, *arguments: object) -> dict[str, Any]:
    result = run_vasa(*lot.arguments(*arguments, "--json"))
    assert result.exit_code in (0, 1), result.output
    plain: dict[str, Any] = json.loads(result.stdout)
    return plain


@needs_ray
@pytest.mark.slow
def test_200_mixed_jobs_on_ray_survive_killed_workers_and_are_as_made_by_one(
    lot: Lot, cluster: None
) -> None:
    jobs = mixed_jobs(lot, 198)
    lot.photo("slow")
    lot.photo("die")
    jobs += [{"id": "slow", "photo": "slow.png"}, {"id": "poison", "photo": "die.png"}]
    manifest = lot.manifest(jobs)
    tried = lot.weights_dir / "notes" / "tried-slow.mp4"

    def kill_in_the_middle_of_the_slow_job() -> None:
        for _ in range(3000):
            if tried.exists():
                os.kill(lot.sidecar("slow")["pid"], signal.SIGKILL)
                return
            time.sleep(0.02)

    killer = threading.Thread(target=kill_in_the_middle_of_the_slow_job)
    killer.start()
    plain = summary(lot, manifest, "--executor", "ray", "--workers", 3)
    killer.join()
    n_bad = sum(int(job["id"]) % 7 in (1, 2) for job in jobs[:198])
    assert counts(plain) == (199 - n_bad, 0, n_bad + 1, 0)
    poison = next(one for one in plain["failed"] if one["id"] == "poison")
    assert (poison["attempts"], poison["exit_code"]) == (3, 5)
    assert "its worker died (Actor" in poison["error"]
    assert lot.sidecar("slow")["attempts"] == 2
    assert lot.sidecar("slow")["status"] == "done"
    on_ray = {path.name: path.read_bytes() for path in lot.folder.glob("*.mp4")}
    local = summary(lot, manifest, "--workers", 1, "--force")
    assert counts(local) == counts(plain)
    assert {path.name: path.read_bytes() for path in lot.folder.glob("*.mp4")} == on_ray


@needs_ray
def test_weights_that_do_not_load_end_the_batch_on_ray_too(lot: Lot, cluster: None) -> None:
    (lot.weights_dir / "notes" / "damaged").touch()
    result = run_vasa(*lot.arguments(lot.manifest([{"id": "a"}]), "--executor", "ray"))
    assert (result.exit_code, "decoder weights are damaged" in result.stderr) == (4, True)


@needs_ray
def test_cores_that_no_machine_has_are_misuse(lot: Lot, cluster: None) -> None:
    arguments = lot.arguments(lot.manifest([{"id": "a"}]), "--executor", "ray", "--cores", 99)
    result = run_vasa(*arguments)
    assert (result.exit_code, "no machine of the Ray cluster has 99 cores" in result.stderr) == (
        2,
        True,
    )


@needs_ray
def test_an_address_without_a_cluster_is_a_resource_fault(
    lot: Lot, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def refuse(**options: object) -> None:
        raise ConnectionError("no cluster")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    arguments = lot.arguments(lot.manifest([{"id": "a"}]), "--executor", "ray")
    result = run_vasa(*arguments, "--address", "10.0.0.1:6379")
    assert (result.exit_code, "cluster at 10.0.0.1:6379 cannot be used" in result.stderr) == (
        5,
        True,
    )


def test_without_ray_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'vasa-cli\[ray\]'"):
        RayPool(FakeFactory(Path()), n_workers=1, cores=1, gpu=False, address=None, max_workers=1)
