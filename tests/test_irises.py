"""Irises found in the picture, whatever the encoder says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.drawn_faces import face, plain, with_eyes
from vasa_cli import irises
from vasa_cli.geometry import Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.models import iris
from vasa_cli.models.fields import IRISES
from vasa_cli.models.painting import eye_shape
from vasa_cli.weights import find_weights_dir

SIDE = 512
LIDS_UP = dict(lid_left=0.5, lid_right=0.5)


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


def off(points: Tensor, truth: Tensor) -> float:
    """How far irises are from the truth at most, in eye widths."""
    width = (truth[0, 33, :2] - truth[0, 133, :2]).norm()
    both = [k for index in IRISES.values() for k in index]
    return float((points - truth)[0, both, :2].norm(dim=-1).max() / width)


@pytest.mark.parametrize("looks", [-4.0, -2.0, 2.0, 4.0])
def test_irises_that_look_aside_are_found_though_they_are_read_as_looking_ahead(
    geometry: Geometry, looks: float
) -> None:
    truth, read = (face(geometry, gaze_yaw=yaw, **LIDS_UP) for yaw in (looks, 0.0))
    made = irises.found(with_eyes(plain(SIDE), truth), read)
    assert off(read, truth) > 0.04
    assert off(made, truth) < 0.4 * off(read, truth)
    others = np.setdiff1d(np.arange(478), [k for index in IRISES.values() for k in index])
    assert torch.equal(made[:, others], read[:, others])


def test_each_picture_of_a_batch_is_looked_at_by_itself(geometry: Geometry) -> None:
    faces = [face(geometry, gaze_yaw=yaw, **LIDS_UP) for yaw in (-3.0, 0.0, 3.0)]
    pictures = torch.cat([with_eyes(plain(SIDE), points) for points in faces])
    together = irises.found(pictures, faces[1].expand(3, -1, -1))
    alone = torch.cat([irises.found(picture[None], faces[1]) for picture in pictures])
    assert torch.allclose(together, alone, atol=1e-5)


def test_what_the_encoder_reads_stays_where_no_iris_is_to_be_seen(geometry: Geometry) -> None:
    shut = face(geometry, gaze_yaw=2.0, lid_left=-8.0, lid_right=-8.0)
    truth = face(geometry, gaze_yaw=-2.0, **LIDS_UP)
    assert off(irises.found(with_eyes(plain(SIDE), truth), shut), shut) < 1e-4
    ahead = face(geometry, **LIDS_UP)
    assert off(irises.found(plain(SIDE), ahead), ahead) < 0.03


def own_iris(photo: Tensor, points: Tensor) -> iris.Iris:
    shape = eye_shape(points, "left")
    return iris.expect(photo, shape.opening(shape.columns(192)), shape)


def test_what_lids_hide_of_an_iris_is_like_what_is_seen_at_the_same_distance(
    geometry: Geometry,
) -> None:
    open_eyes, half = face(geometry, lid_left=6.0, lid_right=6.0), face(geometry, lid_left=-2.0)
    picture = own_iris(with_eyes(plain(SIDE), half), half).picture
    whole = own_iris(with_eyes(plain(SIDE), open_eyes), open_eyes).picture
    assert picture[0, 3].mean() < 0.8 * whole[0, 3].mean()
    line = torch.linspace(-iris.REACH, iris.REACH, picture.shape[-1])
    within = (line[None].square() + line[:, None].square()).sqrt() < 0.8
    hidden = within & (picture[0, 3] < 0.05)
    assert hidden.sum() > 10
    # dark as the rest of it: neither skin, which hides it, nor white
    assert (picture[0, :3, hidden] < -0.5).all()


def test_an_iris_of_which_nothing_is_seen_is_darkest_in_its_middle(geometry: Geometry) -> None:
    shut = face(geometry, lid_left=-8.0, lid_right=-8.0)
    picture = own_iris(plain(SIDE), shut).picture[0, :3].mean(0)
    middle = len(picture) // 2
    assert picture[middle, middle] < picture[middle, middle // 2] - 0.1


def test_the_rest_of_an_iris_in_a_corner_is_no_white(geometry: Geometry) -> None:
    photo = plain(64)
    photo[:, :, :, :] = 0.8
    photo[:, :, :, :20] = -0.8
    for looks, expected in ((-4.5, 0.5), (0.0, 0.0)):
        shape = eye_shape(face(geometry, gaze_yaw=looks, **LIDS_UP), "left")
        own = iris.Iris(torch.full((1, 4, 16, 16), -0.8), torch.full((1,), 0.25))
        white = torch.full((1, 3, 1, 1), 0.8)
        stray = iris.strays(photo, white, own, shape)
        assert float(stray[..., :20].max()) >= expected and float(stray[..., 24:].max()) == 0
        assert looks or float(stray.max()) == 0
