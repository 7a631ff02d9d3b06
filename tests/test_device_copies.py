"""Copies between host and device: nothing changes on a CPU, and a GPU draws what a CPU draws."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from vasa_cli.config import RenderOptions
from vasa_cli.device_copies import own_stream, to_device, to_host
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE
from vasa_cli.motion import Motion
from vasa_cli.pipeline import Renderer
from vasa_cli.placement import place
from vasa_cli.squares import each_picture, to_pixels

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


@pytest.mark.parametrize("name", DEVICES)
def test_what_is_copied_there_and_back_is_the_same(name: str) -> None:
    device, values = torch.device(name), np.random.default_rng(0).normal(size=(3, 5))
    with own_stream(device):
        there = to_device(values, device)
        assert there.device.type == name and there.dtype == torch.float32
        back = to_host(there)
    assert np.array_equal(back, values.astype(np.float32))


@pytest.mark.parametrize("name", DEVICES)
def test_pictures_one_by_one_are_those_of_a_batch(name: str) -> None:
    squares = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    squares = squares.to(name)
    found = list(each_picture(squares.clone().split(1)))
    assert np.array_equal(np.stack(found), to_pixels(squares.clone()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_draws_what_a_cpu_draws(repository: Path) -> None:
    head = np.zeros((30, N_HEAD_POSE))
    head[:, 0] = 10 * np.sin(np.arange(30) / 5)
    motion = Motion(head, np.zeros((30, N_DYNAMICS)), Fraction(25))
    drawn = []
    for name in DEVICES:
        renderer, options = Renderer(device=name), RenderOptions(size=256)
        portrait = renderer.read_portrait(repository / "examples" / "portrait.jpg", options)
        placement = place(portrait.picture, portrait.window, options)
        drawn.append(np.stack(list(renderer.draw(portrait, [motion], placement))))
    error = np.square(drawn[0].astype(float) - drawn[1]).mean((1, 2, 3))
    assert (10 * np.log10(255**2 / error.clip(1e-9)) > 40).all()
