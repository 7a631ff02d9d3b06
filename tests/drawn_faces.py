"""Faces that are drawn by what their points say, for tests that know where everything is."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vasa_cli.geometry import EXPLICIT, Geometry, project
from vasa_cli.models.layers import IRIS_MARGIN, Shape
from vasa_cli.models.painting import EYES, eye_shape, iris_radius

SKIN, WHITE, DARK = (0.5, 0.2, 0.0), (1.0, 1.0, 1.0), (-0.7, -0.8, -0.8)


def face(geometry: Geometry, **dynamics: float) -> Tensor:
    """The mean face (1, 478, 3), some of its explicit dynamics changed."""
    change = np.zeros(geometry.dynamics_basis.shape[-1])
    for name, value in dynamics.items():
        change[EXPLICIT.index(name)] = value
    points = geometry.mean + geometry.displacement(change[None])[0]
    return torch.from_numpy(project(np.array([[0, 0, 0, 0, 0, 1.0]]), points[None])).float()


def plain(side: int) -> Tensor:
    """Skin all over, (1, 3, side, side)."""
    return torch.tensor(SKIN)[None, :, None, None].expand(1, 3, side, side).clone()


def painted_by(shape: Shape, colour: tuple[float, ...], photo: Tensor, mask: Tensor) -> None:
    """Colour a photo where a square's mask (1, 1, s, s) is 1."""
    drawn = torch.tensor(colour)[None, :, None, None].expand(-1, -1, *mask.shape[2:])
    shape.patch.put(photo, torch.cat([drawn, mask], 1))


def with_eyes(photo: Tensor, points: Tensor) -> Tensor:
    """The photo with white eyes where the points have them, and dark irises."""
    for eye in EYES:
        shape = eye_shape(points, eye)
        opening = shape.opening(shape.columns(256))
        painted_by(shape, WHITE, photo, opening)
        painted_by(
            shape, DARK, photo, opening * shape.iris_disk(256, iris_radius(shape) / IRIS_MARGIN)
        )
    return photo
