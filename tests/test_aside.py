"""Crops whose eyes are made to look elsewhere, for an encoder that is to read far looks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.read_crops import read_crops
from vasa_cli import irises
from vasa_cli.gaze import GAZE, OFFSET_LIMIT, Eyes
from vasa_cli.geometry import EYES, LIPS, Geometry
from vasa_cli.loading import build, load_reader
from vasa_cli.models.decoder import Decoder
from vasa_cli.squares import to_tensor
from vasa_cli.training import aside
from vasa_cli.training.crops import Crops
from vasa_cli.weights import find_weights_dir

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def crops() -> Crops:
    return read_crops(load_reader(find_weights_dir(), CPU))


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return build("decoder", Decoder, find_weights_dir(), CPU)[0]


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_reader(find_weights_dir(), CPU).geometry


@pytest.mark.parametrize("offset", [(-0.5, 0.0), (0.5, 0.0), (0.0, 0.4), (0.0, -0.4)])
def test_eyes_are_put_where_they_are_told_to_look(
    crops: Crops, geometry: Geometry, offset: tuple[float, float]
) -> None:
    own = crops.points[1]
    points = aside.looking(own, geometry, np.array(offset))
    eyes = Eyes.of(geometry.fit(points), geometry)
    assert np.abs(eyes.photo - offset).max() < 0.1  # of an eyeball's radius
    irises_of = [eye["iris"][0] for eye in EYES.values()]
    assert (np.linalg.norm((points - own)[irises_of, :2], axis=1) > 0.01).all()
    assert np.abs((points - own)[list(LIPS), :2]).max() < 0.01


def test_irises_are_drawn_at_the_points_that_are_learned(
    crops: Crops, geometry: Geometry, decoder: Decoder, tmp_path: Path
) -> None:
    told: list[str] = []
    made = aside.made(decoder, crops, geometry, tmp_path / "aside", told.append)
    assert len(made.images) == len(made.points) == len(made.clip) == 3
    again = aside.made(decoder, crops, geometry, tmp_path / "aside", told.append)
    assert len(told) == 1 and np.array_equal(again.points, made.points)  # not drawn twice
    seen = irises.found(to_tensor(np.array(made.images), CPU), torch.from_numpy(made.points))
    for eye in EYES.values():
        width = np.linalg.norm(
            np.subtract(*(made.points[:, k, :2] for k in eye["corners"])), axis=-1
        )
        off = np.linalg.norm((seen.numpy() - made.points)[:, eye["iris"][0], :2], axis=-1)
        assert (off / width < 0.1).all()


def test_only_open_large_eyes_of_training_people_are_chosen(crops: Crops) -> None:
    rng = np.random.default_rng(0)
    assert len(aside.chosen(crops, rng)) == 3
    held_out = replace(crops, validation=np.array([False, True, False]))
    assert aside.chosen(held_out, rng).tolist() == [0, 2]
    small = replace(crops, face_px=np.full(3, aside.SMALLEST_FACE / 2))
    assert aside.chosen(small, rng).tolist() == []
    shut = crops.points.copy()
    for eye in EYES.values():
        shut[0, list(eye["upper"])] = shut[0, list(eye["lower"])]
    assert aside.chosen(replace(crops, points=shut), rng).tolist() == [1, 2]


def test_one_clip_gives_few_and_none_twice(crops: Crops) -> None:
    n = 400
    many = replace(
        crops,
        points=np.repeat(crops.points[:1], n, 0),
        clip=np.zeros(n, int),
        validation=np.zeros(n, bool),
        face_px=np.full(n, 200.0),
    )
    rows = aside.chosen(many, np.random.default_rng(0))
    assert len(rows) == len(set(rows)) == round(aside.PER_CLIP * n**0.5)


def test_looks_reach_the_ends_of_the_eye(crops: Crops, geometry: Geometry) -> None:
    for sign in (-1, 1):
        points = aside.looking(crops.points[0], geometry, sign * OFFSET_LIMIT)
        dynamics = geometry.fit(points).dynamics[list(GAZE)]
        assert np.isfinite(dynamics).all() and np.abs(points).max() < 1.5
