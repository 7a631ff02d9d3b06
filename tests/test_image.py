"""Pictures in: every file a camera, a telephone or a drawing program may hand over."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from vasa_cli import image
from vasa_cli.errors import InputError
from vasa_cli.image import load_image

RED, LIME, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def ffmpeg(*arguments: str | Path) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments]
    subprocess.run([str(argument) for argument in command], check=True)


def colours(height: int = 90, width: int = 70) -> np.ndarray:
    """(H, W, 3) uint8 in which every pixel differs from its neighbours."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 3, y * 2, (x + y) % 256], -1).astype(np.uint8)


def quarters(height: int = 96, width: int = 80) -> np.ndarray:
    """(H, W, 3) uint8, red and lime above blue and white."""
    top = np.hstack([np.full((height // 2, width // 2, 3), c, np.uint8) for c in (RED, LIME)])
    low = np.hstack([np.full((height // 2, width // 2, 3), c, np.uint8) for c in (BLUE, WHITE)])
    return np.vstack([top, low])


def corners(rgb: np.ndarray) -> list[tuple[int, ...]]:
    """Top left, top right, bottom left, bottom right."""
    near, far = 9, -10
    at = ((near, near), (near, far), (far, near), (far, far))
    return [tuple(int(value) for value in rgb[y, x]) for y, x in at]


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_image(path)
    assert caught.value.exit_code == 3
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_rgb_png_comes_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(colours()).save(path)
    loaded = load_image(path)
    assert loaded.dtype == np.uint8 and loaded.flags.c_contiguous and loaded.flags.writeable
    np.testing.assert_array_equal(loaded, colours())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int) -> None:
    # What a camera stores for an upright scene: the EXIF standard says where row 0 and column 0
    # of the stored picture lie in the scene.
    scene = quarters()
    stored = {
        1: scene,
        2: scene[:, ::-1],  # top, right
        3: scene[::-1, ::-1],  # bottom, right
        4: scene[::-1],  # bottom, left
        5: scene.transpose(1, 0, 2),  # left, top
        6: scene.transpose(1, 0, 2)[::-1],  # right, top
        7: scene.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
        8: scene.transpose(1, 0, 2)[:, ::-1],  # left, bottom
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    np.testing.assert_array_equal(load_image(path), scene)


def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(colours()).save(path, exif=b"Exif\0\0MM\0*garbage")
    np.testing.assert_array_equal(load_image(path), colours())


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:, :, 0] = 200
    rgba[:, 32:, 3] = 255
    rgba[:, 48:, 3] = 51  # a fifth
    path = tmp_path / "logo.png"
    Image.fromarray(rgba).save(path)
    loaded = load_image(path)
    np.testing.assert_array_equal(loaded[0, 0], WHITE)
    np.testing.assert_array_equal(loaded[0, 40], (200, 0, 0))
    np.testing.assert_allclose(loaded[0, 60], (244, 204, 204), atol=1)  # 255 - (255 - c) / 5


def test_grey_with_transparency_is_laid_on_white(tmp_path: Path) -> None:
    path = tmp_path / "drawing.png"
    Image.fromarray(np.dstack([np.full((64, 64), 40, np.uint8)] * 2), "LA").save(path)
    np.testing.assert_allclose(load_image(path), 255 - (255 - 40) * 40 / 255, atol=1)


def test_a_transparent_palette_colour_is_laid_on_white(tmp_path: Path) -> None:
    picture = Image.new("P", (64, 64), 1)
    picture.putpalette([*RED, *BLUE])
    picture.paste(0, (0, 0, 32, 64))
    path = tmp_path / "old.gif"
    picture.save(path, transparency=0)
    loaded = load_image(path)
    np.testing.assert_array_equal(loaded[5, 5], WHITE)
    np.testing.assert_array_equal(loaded[5, 60], BLUE)


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "old.png"
    Image.fromarray(quarters()).quantize(4).save(path)
    np.testing.assert_array_equal(load_image(path), quarters())


@pytest.mark.parametrize(("mode", "white"), [("L", 255), ("1", 1)])
def test_grey_and_black_and_white_fill_three_channels(
    tmp_path: Path, mode: str, white: int
) -> None:
    picture = Image.new(mode, (64, 70))
    picture.paste(white, (32, 0, 64, 70))
    path = tmp_path / "grey.png"
    picture.save(path)
    loaded = load_image(path)
    assert loaded.shape == (70, 64, 3)
    np.testing.assert_array_equal(loaded[3, 3], 0)
    np.testing.assert_array_equal(loaded[3, 60], 255)


@pytest.mark.parametrize("name", ["ramp.png", "ramp.tif", "ramp.pgm"])
def test_a_16_bit_grey_ramp_is_scaled_not_clipped(tmp_path: Path, name: str) -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).round().astype(np.uint16), (64, 1))
    path = tmp_path / name
    if name.endswith("pgm"):  # its 16 bits are big-endian
        path.write_bytes(b"P5 256 64 65535\n" + ramp.astype(">u2").tobytes())
    else:
        Image.fromarray(ramp).save(path)
    expected = np.tile(np.arange(256)[:, None], (64, 1, 3))  # (H, W, 3)
    np.testing.assert_array_equal(load_image(path), expected)


@pytest.mark.parametrize("top", [1.0, 255.0, 1000.0])
def test_a_floating_point_ramp_keeps_black_and_white(tmp_path: Path, top: float) -> None:
    path = tmp_path / "ramp.tif"
    Image.fromarray(np.tile(np.linspace(0, top, 256, dtype=np.float32), (64, 1))).save(path)
    np.testing.assert_allclose(load_image(path)[0, :, 1], np.arange(256), atol=1)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    path = tmp_path / "print.tif"
    Image.new("CMYK", (64, 64), (0, 255, 255, 0)).save(path)
    np.testing.assert_array_equal(load_image(path)[0, 0], RED)


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in (RED, BLUE)]
    for name in ("moving.gif", "moving.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        np.testing.assert_array_equal(load_image(tmp_path / name)[0, 0], RED)


@pytest.mark.parametrize("name", ["photo.jxl", "-x:y %03d.jxl"])
def test_ffmpeg_reads_what_pillow_cannot(tmp_path: Path, name: str) -> None:
    Image.fromarray(quarters()).save(tmp_path / "photo.png")
    lossless = ("-c:v", "libjxl", "-distance", "0", "-f", "image2pipe")
    ffmpeg("-i", tmp_path / "photo.png", *lossless, tmp_path / "pipe.jxl")
    (tmp_path / "pipe.jxl").rename(tmp_path / name)
    np.testing.assert_array_equal(load_image(tmp_path / name), quarters())


@pytest.mark.parametrize(
    ("turns", "expected"),
    [(0, (RED, LIME, BLUE, WHITE)), (1, (LIME, WHITE, RED, BLUE))],  # 90 degrees anticlockwise
)
def test_a_telephones_tiled_heic_is_joined_and_turned(
    tmp_path: Path, turns: int, expected: tuple[tuple[int, ...], ...]
) -> None:
    path = tmp_path / "IMG_0001.HEIC"
    write_tiled_heic(path, width=250, height=240, turns=turns)
    loaded = load_image(path)
    assert loaded.shape == ((250, 240, 3) if turns else (240, 250, 3))
    np.testing.assert_allclose(corners(loaded), expected, atol=6)


def test_tiles_that_ffmpeg_did_not_join_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "IMG_0001.HEIC"
    write_tiled_heic(path, width=250, height=240, turns=0)
    header = "  Stream group #0:0[0x31]: Tile Grid: hevc (Main), yuvj420p, 4000x3000 (default)"
    monkeypatch.setattr(image, "read_header", lambda path: header)
    assert "in tiles that this ffmpeg cannot join; save it as JPEG" in refusal(path)


@pytest.mark.parametrize(("width", "height"), [(63, 200), (200, 63)])
def test_one_pixel_too_small_is_refused(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "tiny.png"
    Image.new("RGB", (width, height)).save(path)
    assert f"is {width}x{height}; at least 64 pixels" in refusal(path)


def test_the_smallest_and_the_longest_side_are_taken(tmp_path: Path) -> None:
    Image.new("L", (64, 8192)).save(tmp_path / "long.png")
    assert load_image(tmp_path / "long.png").shape == (8192, 64, 3)


def test_one_pixel_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (8193, 64)).save(path)
    assert "is 8193x64; at most 8192 pixels a side" in refusal(path)


def test_a_decompression_bomb_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bomb.bmp"
    Image.new("1", (64, 64)).save(path)
    data = bytearray(path.read_bytes())
    data[18:26] = struct.pack("<ii", 20_000, 10_000)  # the header's width and height
    path.write_bytes(data)
    assert "has 200 megapixels; at most 8192x8192" in refusal(path)


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.webp"])
def test_a_truncated_picture_is_refused(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    path = tmp_path / name
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "is damaged or cut short" in refusal(path)


def test_a_missing_picture_is_refused(tmp_path: Path) -> None:
    assert "does not exist; check its name" in refusal(tmp_path / "photo.png")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder; give a picture file in it" in refusal(tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    assert "is empty (0 bytes)" in refusal(tmp_path / "photo.png")


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", (64, 64)).save(path)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert "may not be read; check its permissions" in refusal(path)


def test_a_device_is_refused() -> None:
    assert "is not a regular file" in refusal(Path("/dev/null"))


def test_a_name_the_system_cannot_hold_is_refused(tmp_path: Path) -> None:
    assert "cannot be opened: File name too long" in refusal(tmp_path / ("x" * 300))


@pytest.mark.parametrize("name", ["notes.txt", "notes.png", "notes.eps"])
def test_text_is_not_a_picture(tmp_path: Path, name: str) -> None:
    start = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n" if name == "notes.eps" else ""
    (tmp_path / name).write_text(start + "not a picture at all\n" * 20)
    assert "is not a picture that can be read" in refusal(tmp_path / name)


def test_a_video_is_told_from_a_picture(tmp_path: Path) -> None:
    pattern = ("-f", "lavfi", "-i", "testsrc=s=96x80:d=0.2")
    tone = ("-f", "lavfi", "-i", "sine=d=0.2")
    ffmpeg(*pattern, tmp_path / "mute.mp4")
    ffmpeg(*pattern, *tone, "-f", "mp4", tmp_path / "clip.png")
    for name in ("mute.mp4", "clip.png"):
        assert "is a video, not a picture" in refusal(tmp_path / name)


def test_a_sound_is_told_from_a_picture_even_with_cover_art(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "cover.png")
    tone = ("-f", "lavfi", "-i", "sine=d=0.2")
    cover = ("-map", "0", "-map", "1", "-c:v", "mjpeg", "-disposition:v", "attached_pic")
    ffmpeg(*tone, "-i", tmp_path / "cover.png", *cover, tmp_path / "song.mp3")
    ffmpeg(*tone, tmp_path / "speech.wav")
    for name in ("song.mp3", "speech.wav"):
        assert "is a sound, not a picture" in refusal(tmp_path / name)


def write_tiled_heic(path: Path, *, width: int, height: int, turns: int) -> None:
    """A HEIC as telephones write it: 2x2 HEVC tiles of 128x128, a grid item, a rotation.

    Written box by box from ISO/IEC 23008-12, as no program at hand writes one.
    """
    tiles, settings = [], b""
    for colour in ("red", "lime", "blue", "white"):
        single = path.with_suffix(".mp4")
        still = ("-f", "lavfi", "-i", f"color={colour}:s=128x128", "-frames:v", "1")
        x265 = ("-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p")
        ffmpeg(*still, *x265, "-tag:v", "hvc1", single)
        data = single.read_bytes()
        at = data.index(b"mdat")
        tiles.append(data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")])
        at = data.index(b"hvcC")
        settings = data[at - 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")]
    items = [*tiles, struct.pack(">BBBBHH", 0, 0, 1, 1, width, height)]  # the last is the grid

    def box(name: bytes, *parts: bytes, full: int | None = None) -> bytes:
        body = (b"" if full is None else struct.pack(">I", full)) + b"".join(parts)
        return struct.pack(">I4s", len(body) + 8, name) + body

    entries = b""
    for i, kind in enumerate([b"hvc1"] * 4 + [b"grid"]):
        hidden = int(kind == b"hvc1")
        entries += box(b"infe", struct.pack(">HH4sx", i + 1, 0, kind), full=2 << 24 | hidden)
    properties = [
        settings,
        box(b"ispe", struct.pack(">II", 128, 128), full=0),
        box(b"ispe", struct.pack(">II", width, height), full=0),
        box(b"irot", bytes([turns])),
    ]
    owned = b"".join(struct.pack(">HBBB", i, 2, 0x81, 2) for i in range(1, 5))
    owned += struct.pack(">HBBB", 5, 2, 3, 0x84)
    described = [
        box(b"hdlr", struct.pack(">I4s13x", 0, b"pict"), full=0),
        box(b"pitm", struct.pack(">H", 5), full=0),
        box(b"iinf", struct.pack(">H", 5), entries, full=0),
        box(b"iref", box(b"dimg", struct.pack(">HH4H", 5, 4, 1, 2, 3, 4)), full=0),
        box(
            b"iprp",
            box(b"ipco", *properties),
            box(b"ipma", struct.pack(">I", 5), owned, full=0),
        ),
    ]

    def meta(first: int) -> bytes:
        places = b""
        for i, item in enumerate(items):
            offset = first + sum(len(earlier) for earlier in items[:i])
            places += struct.pack(">HHHII", i + 1, 0, 1, offset, len(item))
        location = box(b"iloc", bytes([0x44, 0]), struct.pack(">H", 5), places, full=0)
        return box(b"meta", *described, location, full=0)

    brand = box(b"ftyp", b"heic", bytes(4), b"mif1heic")
    first = len(brand) + len(meta(0)) + 8
    path.write_bytes(brand + meta(first) + box(b"mdat", *items))
