"""Finding and reading faces with the trained weights: symmetries, sizes, places, styles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps

from vasa_cli.detection import Detection, tile_starts, without_doubles
from vasa_cli.face import CAREFUL, QUICK, FaceReader, Look
from vasa_cli.geometry import LIPS
from vasa_cli.squares import Window, cut_quickly, cut_square, to_pixels, to_tensor, whole_pixels

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PHOTOS = ("portrait.jpg", "hopper.jpg")


def opened(name: str) -> Image.Image:
    return Image.open(EXAMPLES / name).convert("RGB")


def points_of(reader: FaceReader, picture: Image.Image) -> np.ndarray:
    image = np.asarray(picture)
    (face,) = reader.detect(image)
    return reader.read_points(image, face)


def eye_distance(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[33, :2] - points[263, :2]))


def mean_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Mean distance in outer eye distances."""
    return float(np.linalg.norm((found - expected)[:, :2], axis=1).mean() / eye_distance(expected))


@pytest.mark.parametrize("name", PHOTOS)
def test_one_face_is_found_in_each_example(reader: FaceReader, name: str) -> None:
    assert len(reader.detect(np.asarray(opened(name)))) == 1


@pytest.mark.parametrize("side", [70, 200, 900])
def test_points_scale_with_the_picture(reader: FaceReader, side: int) -> None:
    photo = opened("portrait.jpg")
    points = points_of(reader, photo)
    scaled = points_of(reader, photo.resize((side, side)))
    factor = [side / photo.width, side / photo.height, side / photo.width]
    assert mean_error(scaled, points * factor) < (0.04 if side > 100 else 0.1)


@pytest.mark.parametrize("name", PHOTOS)
def test_a_mirrored_picture_gives_mirrored_points(reader: FaceReader, name: str) -> None:
    photo = opened(name)
    mirrored = points_of(reader, ImageOps.mirror(photo))[reader.geometry.mirror_index()]
    expected = points_of(reader, photo)
    mirrored[:, 0] = photo.width - mirrored[:, 0]
    assert mean_error(mirrored, expected) < 0.04


@pytest.mark.parametrize("name", PHOTOS)
def test_careful_looks_make_nothing_of_left_and_right(reader: FaceReader, name: str) -> None:
    picture = to_tensor(np.asarray(opened(name).resize((512, 512)))[None], reader.device)
    points = torch.from_numpy(points_of(reader, opened(name).resize((512, 512))) / 256 - [1, 1, 0])
    points = points.float()[None]
    order, sides = reader.geometry.mirror_index(), torch.tensor([-1.0, 1.0, 1.0])
    lips = list(LIPS)

    def seen_mirrored(looks: tuple[Look, ...]) -> float:
        plain = reader.refine(picture, points, looks=looks)[0, lips]
        other = reader.refine(picture.flip(3), points[:, order] * sides, looks=looks)
        return float((other[0, order] * sides)[lips].sub(plain)[:, :2].abs().max())

    assert seen_mirrored(CAREFUL) < 1e-4 < 1e-3 < seen_mirrored(QUICK)


@pytest.mark.parametrize("angle_deg", [-30, 15, 30])
def test_a_turned_picture_gives_turned_points(reader: FaceReader, angle_deg: float) -> None:
    photo = opened("portrait.jpg")
    turned = points_of(reader, photo.rotate(angle_deg, Image.Resampling.BICUBIC))  # anticlockwise
    angle, middle = np.radians(-angle_deg), np.array(photo.size) / 2
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    expected = points_of(reader, photo)
    expected[:, :2] = (expected[:, :2] - middle) @ rotation.T + middle
    assert mean_error(turned, expected) < 0.05


@pytest.mark.parametrize("angle_deg", [-65, 65])
def test_a_head_on_its_side_is_found(reader: FaceReader, angle_deg: float) -> None:
    photo = opened("portrait.jpg")
    (upright,) = reader.detect(np.asarray(photo))
    turned = photo.rotate(angle_deg, Image.Resampling.BICUBIC, fillcolor=(60, 70, 90))
    (face,) = reader.detect(np.asarray(turned))
    angle, middle = np.radians(-angle_deg), np.array(photo.size) / 2
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    expected = rotation @ ([upright.x, upright.y] - middle) + middle
    assert np.hypot(*(expected - [face.x, face.y])) < 0.1 * upright.height
    assert face.height == pytest.approx(upright.height, rel=0.25)


@pytest.mark.parametrize("corner", [(0, 0), (900, 0), (0, 500), (900, 500)])
def test_a_small_face_is_found_anywhere(reader: FaceReader, corner: tuple[int, int]) -> None:
    wide = Image.new("RGB", (1300, 900), (60, 70, 90))
    wide.paste(opened("portrait.jpg").resize((300, 300)), corner)
    faces = reader.detect(np.asarray(wide))
    assert len(faces) == 1
    assert corner[0] < faces[0].x < corner[0] + 300 and corner[1] < faces[0].y < corner[1] + 300


def test_every_face_of_a_group_is_found(reader: FaceReader) -> None:
    group = Image.new("RGB", (900, 600), (90, 90, 100))
    for k in range(12):
        name = ("portrait.jpg", "hopper.jpg")[k % 2]
        group.paste(opened(name).resize((150, 150)), (150 * (k % 4) + 30, 170 * (k // 4) + 20))
    faces = reader.detect(np.asarray(group))
    assert len(faces) == 12
    assert [face.x for face in faces] == sorted(face.x for face in faces)


STYLES = {
    "grey": lambda p: ImageOps.grayscale(p).convert("RGB"),
    "sepia": lambda p: ImageOps.colorize(ImageOps.grayscale(p), (40, 20, 0), (255, 240, 200)),
    "posterised": lambda p: ImageOps.posterize(p, 2),
    "painted": lambda p: p.filter(ImageFilter.ModeFilter(9)),
    "drawn": lambda p: p.filter(ImageFilter.EDGE_ENHANCE_MORE).filter(ImageFilter.SMOOTH),
    "dark": lambda p: p.point(lambda v: v * 0.3),
    "soft": lambda p: p.filter(ImageFilter.GaussianBlur(4)),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", PHOTOS)
def test_a_stylised_picture_is_read_like_the_photo(
    reader: FaceReader, name: str, style: str
) -> None:
    photo = opened(name)
    found = points_of(reader, STYLES[style](photo))
    assert mean_error(found, points_of(reader, photo)) < 0.06


def test_the_window_holds_the_head_at_its_resting_place(reader: FaceReader) -> None:
    points = points_of(reader, opened("portrait.jpg"))
    window = reader.window(points)
    code = reader.fit(points, window)
    assert code.head_pose[3:] == pytest.approx([0, 0, 1], abs=0.05)


def test_reading_is_the_same_every_time(reader: FaceReader) -> None:
    photo = opened("hopper.jpg")
    assert np.array_equal(points_of(reader, photo), points_of(reader, photo))


@pytest.mark.parametrize("length", [10, 256, 257, 300, 512, 1000])
def test_tiles_cover_every_pixel(length: int) -> None:
    starts = tile_starts(length, 256)
    covered = np.zeros(max(length, 256), bool)
    for start in starts:
        covered[start : start + 256] = True
    assert covered.all() and all(0 <= s <= max(0, length - 256) for s in starts)


def test_doubles_are_dropped_and_the_best_is_kept() -> None:
    faces = [Detection(10, 10, 50, 0.7), Detection(15, 12, 50, 0.9), Detection(200, 10, 50, 0.8)]
    assert [f.score for f in without_doubles(faces)] == [0.9, 0.8]


def test_cutting_beyond_the_picture_repeats_its_edge() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, -1] = 200
    square = cut_square(image, Window(60.0, 20.0, 20.0), 40)
    assert square.shape == (40, 40, 3)
    assert (square[:, 25:] > 180).all() and (square[:, :15] < 20).all()


def test_cutting_at_the_pictures_own_scale_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(cut_square(image, Window(32.0, 32.0, 16.0), 32), image[16:48, 16:48])


@pytest.mark.parametrize(
    "x, y, half", [(60.2, 40.7, 30.3), (3.0, 5.0, 25.0), (118.0, 70.0, 40.0), (60.0, 40.0, 9.6)]
)
def test_a_window_of_whole_pixels_is_cut_quickly_as_it_is_cut_well(
    x: float, y: float, half: float
) -> None:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8))
    image = np.asarray(small.resize((120, 80), Image.Resampling.BICUBIC))
    window = whole_pixels(Window(x, y, half))
    assert max(abs(window.x - x), abs(window.y - y), abs(window.half - half)) <= 1
    well = cut_square(image, window, 48, kernel=Image.Resampling.BILINEAR).astype(int)
    quick = cut_quickly(image, window, 48)
    assert quick.shape == (48, 48, 3)
    inside = (slice(3, -3), slice(3, -3))  # Pillow's kernel looks beyond the window's edges
    assert np.abs(quick.astype(int) - well)[inside].max() <= 1


def test_a_window_beside_the_picture_is_its_edge() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert (cut_quickly(image, Window(-20.0, -20.0, 4.0), 5) == image[0, 0]).all()
    assert (cut_quickly(image, Window(20.0, 20.0, 4.0), 5) == image[1, 1]).all()


def test_pixels_become_tensors_and_the_same_pixels_again() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3)
    pixels = np.concatenate([pixels, pixels[:, ::-1]])
    again = to_pixels(to_tensor(pixels, torch.device("cpu")))
    assert again.flags.c_contiguous and np.array_equal(again, pixels)


def test_what_is_beyond_black_and_white_is_cut_and_the_nearest_level_taken() -> None:
    values = torch.tensor([-1.5, -1.0, 0.4 / 127.5 - 1, 0.6 / 127.5 - 1, 1.0, 1.5])
    found = to_pixels(values.view(1, 1, 1, 6).repeat(1, 3, 1, 1))
    assert found[0, 0, :, 0].tolist() == [0, 0, 0, 1, 255, 255]
