"""Eyes larger than people's: read again in larger squares, down to where they end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vasa_cli import large_eyes
from vasa_cli.face import CAREFUL, FaceReader, Look
from vasa_cli.models.encoder import LEFT_EYE
from vasa_cli.models.fields import Patch

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "portrait.jpg"
SIDE = 256
LOWER = list(LEFT_EYE[large_eyes.LOWER])


class LargeEyed:
    """Answers as a regressor does of a left eye that is three tenths of a face wide.

    It sees no more of one than its square shows; the right eye is a person's.
    """

    def __init__(self) -> None:
        self.halves: list[float] = []

    def __call__(
        self, pictures: torch.Tensor, square: Patch, part: str, looks: tuple[Look, ...]
    ) -> torch.Tensor:
        if part == "lips":
            return torch.zeros(1, 40, 3)
        if square.affine[0, 0, 0] < 0:
            return eye(0.15) + torch.tensor([0.8, 0.0, 0.0])
        half = float(square.affine[0, :, 0].norm())
        self.halves.append(half)
        return eye(min(0.3, 0.7 * half))


def eye(half: float) -> torch.Tensor:
    """A left eye's points (1, 21, 3) about the middle, so wide and half as tall."""
    x = torch.linspace(-0.75, 0.75, 7)
    arc = 0.48 * (1 - x.square()).sqrt()
    rows = torch.cat([torch.zeros(2), -arc, arc, torch.zeros(5)])
    columns = torch.cat([torch.tensor([-1.0, 1.0]), x, x, torch.zeros(5)])
    return torch.stack([columns, rows, torch.zeros(21)], 1)[None] * half


def whole_face() -> torch.Tensor:
    """Points (1, 478, 3) of a face of height 2 with eyes as small as a person's."""
    points = torch.zeros(1, 478, 3)
    points[0, :, 0] = torch.linspace(-0.7, 0.7, 478)
    points[0, 10], points[0, 152] = torch.tensor([0.0, -1, 0]), torch.tensor([0.0, 1, 0])
    points[:, list(LEFT_EYE)] = eye(0.16)
    return points


def test_a_large_eye_is_shown_in_larger_squares_until_it_is_seen_whole(
    reader: FaceReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = LargeEyed()
    monkeypatch.setattr(reader, "_mean", large)
    picture = torch.zeros(1, 3, SIDE, SIDE)
    found = reader.refine(picture, whole_face(), looks=CAREFUL, drawn=True)
    assert max(large.halves) > 1.3 * large.halves[0]
    assert large_eyes.widths(found, LEFT_EYE[:2]).item() == pytest.approx(0.3, rel=0.02)


def test_films_are_read_in_usual_squares(
    reader: FaceReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = LargeEyed()
    monkeypatch.setattr(reader, "_mean", large)
    reader.refine(torch.zeros(1, 3, SIDE, SIDE), whole_face())
    assert len(large.halves) == 1


def test_a_persons_eyes_are_looked_at_once(
    reader: FaceReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> Patch:
        raise AssertionError("a person's eye was looked at again")

    monkeypatch.setattr(large_eyes, "widened", never)
    photo = np.asarray(Image.open(EXAMPLE).convert("RGB"))
    (face,) = reader.detect(photo)
    reader.read_points(photo, face)


def round_eye(half: float) -> torch.Tensor:
    """A picture (1, 3, SIDE, SIDE) of skin and, in its middle, a disk as an eye."""
    line = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    disk = torch.sigmoid((half - (line[:, None].square() + line.square()).sqrt()) * SIDE)
    skin = torch.tensor([0.7, 0.4, 0.3])[:, None, None]
    return (skin + (torch.tensor([-0.2, -0.1, 0.3])[:, None, None] - skin) * disk)[None]


@pytest.mark.parametrize("half", [0.15, 0.3])
def test_a_lid_read_across_a_round_eye_comes_to_its_lower_edge(half: float) -> None:
    points = whole_face()
    read = eye(half)
    read[:, large_eyes.LOWER, 1] *= 0.66 / 0.48
    points[:, list(LEFT_EYE)] = read
    found = large_eyes.lowered(round_eye(half), points, LEFT_EYE)
    middle = LOWER[3]
    assert points[0, middle, 1].item() == pytest.approx(0.66 * half, rel=0.01)
    assert found[0, middle, 1].item() == pytest.approx(half, rel=0.06)
    others = [k for k in range(478) if k not in LOWER]
    assert torch.equal(found[:, others], points[:, others])


def test_a_lid_that_is_where_the_eye_ends_stays() -> None:
    points = whole_face()
    read = eye(0.3)
    read[:, large_eyes.LOWER, 1] *= 1 / 0.48
    points[:, list(LEFT_EYE)] = read
    found = large_eyes.lowered(round_eye(0.3), points, LEFT_EYE)
    assert (found - points).abs().max() < 0.03 * 0.3


def face_with_eye(width: float) -> torch.Tensor:
    """Points of a face of height 2 whose left eye is so many face heights wide."""
    points = torch.zeros(1, 478, 3)
    points[0, 10, 1], points[0, 152, 1] = -1.0, 1.0
    points[0, 33, 0], points[0, 133, 0] = -width, width
    return points


def test_widths_are_in_face_heights() -> None:
    assert large_eyes.widths(face_with_eye(0.25), (33, 133)).item() == pytest.approx(0.25)


def test_only_eyes_both_wider_and_rounder_than_peoples_count() -> None:
    points = whole_face()
    for half, taller, expected in (
        (0.16, 1.0, 0),
        (0.25, 1.0, 0),
        (0.16, 1.6, 0),
        (0.1975, 1.6, 0.5),
        (0.25, 1.6, 1),
    ):
        points[:, list(LEFT_EYE)] = eye(half) * torch.tensor([1.0, taller / 1.6, 1.0])
        share = large_eyes.share(points, LEFT_EYE).item()
        assert share == pytest.approx(expected, abs=1e-3), (half, taller)


def test_a_large_eye_fills_its_square_as_a_persons_does() -> None:
    square = Patch(torch.tensor([[[0.2, 0.0, 0.5], [0.0, 0.2, -0.1]]]))
    wide = large_eyes.widened(square, torch.tensor([1.5 * large_eyes.USUAL]))
    torch.testing.assert_close(wide.affine[:, :, :2], 1.5 * square.affine[:, :, :2])
    torch.testing.assert_close(wide.affine[:, :, 2], square.affine[:, :, 2])
    small = large_eyes.widened(square, torch.tensor([0.1]))
    torch.testing.assert_close(small.affine, square.affine)


def test_what_is_near_moved_lids_goes_with_them() -> None:
    generator = torch.Generator().manual_seed(0)
    before = torch.rand(1, 478, 3, generator=generator) * 2 - 1
    lids = tuple(LEFT_EYE[:16])
    before[:, lids, 1] = 0.2  # a row of them, a face height of 2
    before[:, lids, 0] = torch.linspace(-0.1, 0.1, len(lids))
    before[0, 10], before[0, 152] = torch.tensor([0.0, -1, 0]), torch.tensor([0.0, 1, 0])
    before[0, 1], before[0, 2] = torch.tensor([0.0, 0.21, 0]), torch.tensor([0.9, 0.9, 0])
    after = before.clone()
    after[:, lids, 1] += 0.05
    carried = large_eyes.carry(after, before, lids)
    assert torch.equal(carried[:, lids], after[:, lids])
    assert carried[0, 1, 1] - before[0, 1, 1] == pytest.approx(0.05, rel=0.15)
    torch.testing.assert_close(carried[0, 2], before[0, 2])
