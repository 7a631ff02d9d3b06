"""Weights that are whole but are not this program's, and devices that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vasa_cli import loading
from vasa_cli.errors import UsageError, WeightsError
from vasa_cli.loading import (
    GEOMETRY_SHAPES,
    build,
    choose_device,
    fast_bf16,
    load_geometry,
    load_models,
)
from vasa_cli.weights import load_weights, save_weights, write_manifest

CPU = torch.device("cpu")


def replace(folder: Path, name: str, tensors: dict[str, torch.Tensor], **dims: Any) -> None:
    save_weights(folder / f"{name}.safetensors", tensors, name=name, dims=dims)
    write_manifest(folder, version="0.0.1", licence="Apache-2.0")


def small(*, n_inputs: int) -> nn.Module:
    if n_inputs < 1:
        raise ValueError("no inputs")
    return nn.Linear(n_inputs, 1)


@pytest.mark.parametrize(
    ("tensors", "dims"),
    [
        ({"weight": torch.zeros(1, 3)}, {"n_inputs": 3}),  # the bias is missing
        ({"weight": torch.zeros(1, 3), "bias": torch.zeros(1)}, {"n_inputs": 4}),
        ({"weight": torch.zeros(1, 3), "bias": torch.zeros(1)}, {"n_outputs": 3}),
        ({"weight": torch.zeros(1, 3), "bias": torch.zeros(1)}, {"n_inputs": 0}),
    ],
    ids=["tensor missing", "another shape", "another dimension", "impossible dimension"],
)
def test_weights_that_do_not_fit_their_network_are_one_clear_line(
    fake_weights_dir: Path, tensors: dict[str, torch.Tensor], dims: dict[str, int]
) -> None:
    replace(fake_weights_dir, "detector", tensors, **dims)
    with pytest.raises(WeightsError, match="detector weights in .* of another version") as caught:
        build("detector", small, fake_weights_dir, CPU)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)


def test_half_precision_on_disk_becomes_single_in_use(fake_weights_dir: Path) -> None:
    tensors = {"weight": torch.full((1, 3), 0.5).half(), "bias": torch.zeros(1).half()}
    replace(fake_weights_dir, "detector", tensors, n_inputs=3)
    network, others = build("detector", small, fake_weights_dir, CPU)
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert not network.training and others == {}


def shaped() -> dict[str, torch.Tensor]:
    return {field: torch.zeros(shape) for field, shape in GEOMETRY_SHAPES.items()}


def test_a_geometry_that_lacks_a_field_is_refused(fake_weights_dir: Path) -> None:
    with pytest.raises(WeightsError, match="another version .mean is missing"):
        load_geometry(fake_weights_dir)


def test_a_geometry_of_other_bases_is_refused(fake_weights_dir: Path) -> None:
    replace(fake_weights_dir, "geometry", shaped() | {"dynamics_basis": torch.zeros(478, 3, 47)})
    with pytest.raises(WeightsError, match=r"dynamics_basis is \(478, 3, 47\), not \(478, 3, 48\)"):
        load_geometry(fake_weights_dir)
    replace(fake_weights_dir, "geometry", shaped())
    assert load_geometry(fake_weights_dir).mean.shape == (478, 3)


@pytest.mark.parametrize("extra", [{}, {"spread": torch.ones(7)}])
def test_motion_weights_without_their_scale_are_refused(
    fake_weights_dir: Path, monkeypatch: pytest.MonkeyPatch, extra: dict[str, torch.Tensor]
) -> None:
    replace(fake_weights_dir, "geometry", shaped())
    monkeypatch.setattr(loading, "build", lambda name, *rest: (nn.Identity(), extra))
    with pytest.raises(WeightsError, match="motion weights in .*spread is missing"):
        load_models(fake_weights_dir, CPU)


def test_what_was_trained_may_be_read_by_everyone(fake_weights_dir: Path) -> None:
    replace(fake_weights_dir, "detector", {"weight": torch.zeros(1)})
    assert (fake_weights_dir / "detector.safetensors").stat().st_mode & 0o444 == 0o444
    load_weights("detector", weights_dir=fake_weights_dir)


@pytest.fixture
def plain_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("name", ["cuda", "mps", "tpu"])
def test_a_device_that_is_not_there_is_misuse(plain_machine: None, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_device(name)
    assert str(caught.value) == f"device {name} is not available here; choose from auto, cpu"
    assert caught.value.exit_code == 2


def test_auto_takes_the_best_device(plain_machine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("auto").type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"
    assert choose_device("cpu").type == "cpu"


def test_a_torch_that_cannot_tell_its_cpu_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not fast_bf16(CPU)
