"""Pictures in: whatever Pillow or the bundled ffmpeg reads becomes upright 8-bit RGB."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from vasa_cli.audio import FFmpeg, check_input, input_arguments, read_header, streams
from vasa_cli.errors import InputError

MIN_SIDE = 64  # pixels; a face in less has no lips to move
MAX_SIDE = 8192  # pixels
# Pillow names these, but leaves the decoding to other programs, or to nobody.
_FORMATS_WITHOUT_DECODER = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
# A damaged file meets Pillow's plugins anywhere.
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError),
    *(NotImplementedError, struct.error, zlib.error),
)
_ORIENTATION_TAG = 0x0112  # of EXIF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def load_image(path: Path) -> np.ndarray:
    """The picture as a person sees it: turned by its EXIF, laid on white, first frame if several.

    Args:
        path: any picture that Pillow reads, or else ffmpeg (HEIC, JPEG XL).

    Returns:
        (H, W, 3) uint8 RGB, 64 to 8192 pixels a side. Colour profiles are ignored.

    Raises:
        InputError: missing, a folder, empty, no picture, damaged, too small or too large.
    """
    check_input(path, kind="picture")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # size is checked here; odd EXIF does no harm
        picture = _open(path, path)
        turned = picture is None  # ffmpeg turns what it decodes
        if picture is None:
            picture = _open(io.BytesIO(_decode_with_ffmpeg(path)), path)
        if picture is None:
            raise _not_a_picture(path)
        with picture:
            _check_size(path, *picture.size)
            rgb = _read_rgb(path, picture)
            upright = rgb if turned else _turn_upright(picture, rgb)
    return np.array(upright)  # (H, W, 3)


def _open(source: Path | IO[bytes], path: Path) -> Image.Image | None:
    """The picture with its pixels still unread; None if Pillow cannot read its format."""
    try:
        picture = Image.open(source)
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError as error:
        n_pixels = re.search(r"\d+", str(error))
        seen = f"{int(n_pixels[0]) / 1e6:.0f} megapixels" if n_pixels else "too many pixels"
        raise InputError(
            f"picture {path} has {seen}; at most {MAX_SIDE}x{MAX_SIDE} are taken, shrink it first"
        ) from error
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    if picture.format in _FORMATS_WITHOUT_DECODER:
        picture.close()
        return None
    return picture


def _read_rgb(path: Path, picture: Image.Image) -> Image.Image:
    try:
        picture.load()
        return _to_rgb(picture)
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Any mode to RGB: alpha over white, deep grey scaled, not clipped, to 8 bits."""
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(_grey_to_8bit(np.asarray(picture))).convert("RGB")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return picture.convert("RGB")


def _grey_to_8bit(grey: np.ndarray) -> np.ndarray:
    """(H, W) uint8 of grey in 16 or 32 bits; of values in no usual range, their own range."""
    values = np.nan_to_num(grey.astype(np.float32))  # (H, W)
    low, high = float(values.min()), float(values.max())
    usual = (65535.0,) if np.issubdtype(grey.dtype, np.integer) else (1.0, 255.0)
    full = next((full for full in usual if high <= full), None)
    if low >= 0 and full is not None:
        low, high = 0.0, full
    return np.rint((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)


def _turn_upright(picture: Image.Image, rgb: Image.Image) -> Image.Image:
    """`rgb` turned as the picture's EXIF says; damaged EXIF does not cost the picture."""
    try:
        turn = _UPRIGHT.get(picture.getexif().get(_ORIENTATION_TAG, 1))
    except _DAMAGE:
        return rgb
    return rgb if turn is None else rgb.transpose(turn)


def _decode_with_ffmpeg(path: Path) -> bytes:
    """A PNG of the first frame, upright."""
    header = read_header(path)
    has_video = bool(streams(header, "Video"))
    if streams(header, "Audio"):
        raise _moving_or_sounding(path, "video" if has_video else "sound")
    # A telephone's HEIC is a grid of tiles, which ffmpeg joins, but for old ones.
    grid = re.search(r", (\d+)x(\d+)\b", "".join(streams(header, "Tile Grid")))
    if not has_video and grid is None:
        raise _not_a_picture(path)
    arguments = ["-v", "error", *input_arguments(path), "-frames:v", "2"]
    arguments += ["-fps_mode", "passthrough", "-f", "image2pipe", "-c:v", "png", "pipe:1"]
    with FFmpeg(arguments) as ffmpeg:
        png = ffmpeg.stdout.read()
    if not png.startswith(_PNG_SIGNATURE):
        raise _not_a_picture(path)
    if png.find(_PNG_SIGNATURE, 1) > 0:
        raise _moving_or_sounding(path, "video")
    size = struct.unpack(">II", png[16:24])  # of the PNG's first chunk: width, height
    if grid is not None and sorted(size) != sorted(int(side) for side in grid.groups()):
        raise InputError(
            f"picture {path} is in tiles that this ffmpeg cannot join; save it as JPEG or PNG"
        )
    return png


def _check_size(path: Path, width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise InputError(
            f"picture {path} is {width}x{height}; at least {MIN_SIDE} pixels a side are needed,"
            " give a larger one"
        )
    if max(width, height) > MAX_SIDE:
        raise InputError(
            f"picture {path} is {width}x{height}; at most {MAX_SIDE} pixels a side are taken,"
            " shrink it first"
        )


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"picture {path} is damaged or cut short ({error}); copy or export it again")


def _moving_or_sounding(path: Path, seen: str) -> InputError:
    return InputError(f"{path} is a {seen}, not a picture; give a photo, such as a JPEG or PNG")


def _not_a_picture(path: Path) -> InputError:
    return InputError(f"{path} is not a picture that can be read; give a JPEG or PNG")
