"""Crops of the example portraits, with points that the encoder reads in the whole photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from vasa_cli.face import FaceReader
from vasa_cli.squares import cut_square
from vasa_cli.training.crops import Crops

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PHOTOS = ("portrait.jpg", "hopper.jpg", "portrait.jpg")
SIDE, FACE_PX = 320, 200.0


def read_crops(reader: FaceReader) -> Crops:
    """Three crops, of two people."""
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
        face_px=np.full(n, FACE_PX, np.float32),
        names=PHOTOS,
    )
