"""Crops read anew by the encoder, where the teacher's points err."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vasa_cli.errors import InputError
from vasa_cli.face import FaceReader
from vasa_cli.loading import load_reader
from vasa_cli.squares import cut_square
from vasa_cli.training.crops import Crops
from vasa_cli.training.reread import digest, load_all, read_again
from vasa_cli.weights import find_weights_dir

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PHOTOS = ("portrait.jpg", "hopper.jpg", "portrait.jpg")
SIDE = 320
ERROR, MISTAKE = 0.01, 0.2  # crop units


@pytest.fixture(scope="module")
def exact(reader: FaceReader) -> Crops:
    """Three crops with points that were read in the whole photos."""
    images, points = [], []
    for name in PHOTOS:
        photo = np.asarray(Image.open(EXAMPLES / name).convert("RGB"))
        found = reader.read_points(photo, reader.detect(photo)[0])
        window = reader.window(found)
        images.append(cut_square(photo, window, SIDE))
        points.append(window.to_crop(found))
    n = len(images)
    return Crops(
        images=np.stack(images),
        points=np.stack(points).astype(np.float32),
        valid=np.tile(np.float32([-1, -1, 1, 1]), (n, 1)),
        clip=np.arange(n),
        validation=np.zeros(n, bool),
        real=np.ones(n, bool),
        face_px=np.full(n, 150.0, np.float32),
        names=PHOTOS,
    )


def off(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Mean distances (N,) of points in crop units."""
    return np.asarray(np.linalg.norm((found - expected)[..., :2], axis=-1).mean(1))


def test_the_teachers_errors_go_and_what_the_encoder_mistakes_stays(
    reader: FaceReader, exact: Crops, tmp_path: Path
) -> None:
    taught = exact.points + np.random.default_rng(0).normal(0, ERROR, exact.points.shape)
    taught[2, :, 0] += MISTAKE
    crops = Crops(**vars(exact) | {"points": taught.astype(np.float32)})
    told: list[str] = []
    kept = tmp_path / "read.npy"
    found = read_again(crops, reader, kept, told.append)
    assert (off(found.points, exact.points)[:2] < ERROR / 2).all()
    assert (off(taught, exact.points)[:2] > ERROR).all()
    assert np.array_equal(found.points[2], crops.points[2])
    assert any("1 of 3" in line for line in told)
    assert [path.name for path in tmp_path.iterdir()] == ["read.npy"]
    told.clear()
    again = read_again(crops, reader, kept, told.append)
    assert np.array_equal(again.points, found.points) and not told  # not read twice


def test_other_weights_are_another_reader(reader: FaceReader) -> None:
    first = digest(reader.encoder)
    other = load_reader(find_weights_dir(), torch.device("cpu")).encoder
    assert digest(other) == first
    with torch.no_grad():
        next(other.parameters()).mul_(1.01)
    assert digest(other) != first


def test_a_cache_without_crops_is_told(reader: FaceReader, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no crops"):
        load_all(tmp_path, reader)
