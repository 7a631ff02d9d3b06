"""A small visible label in the lower left corner of every frame."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vasa_cli.errors import UsageError

_HEIGHT_PART = 1 / 24  # of the letters, in the frame's shorter side
_LEAST_FONT_SIZE = 9  # pixels; smaller is not readable
_MARGIN = 0.5  # of the font size, around the text and around the box
_BOX_ALPHA = 0.55
# Tried in turn for letters that Pillow's own font lacks; it has those of English alone.
_SYSTEM_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "Arial Unicode.ttf")


class _Font(Protocol):
    """What a label needs of either of Pillow's kinds of font."""

    def getmask(self, text: str) -> object: ...
    def getbbox(self, text: str) -> tuple[float, float, float, float]: ...


class Label:
    """Burns one text into frames of one size: white on a darkened box.

    Args:
        text: one line.
        height: of the frames, pixels.
        width: of the frames, pixels.

    Raises:
        UsageError: the text is empty, has more than one line or letters that no font here has, or
            is too long for the width.
    """

    def __init__(self, text: str, *, height: int, width: int) -> None:
        check_text(text)
        font_size = max(_LEAST_FONT_SIZE, round(min(height, width) * _HEIGHT_PART))
        while True:
            cover = _draw(text, font_size)  # (2, h, w)
            margin = round(_MARGIN * font_size)
            fits = cover.shape[2] + 2 * margin <= width and cover.shape[1] + 2 * margin <= height
            if fits:
                break
            if font_size == _LEAST_FONT_SIZE:
                raise UsageError(
                    f"label of {len(text)} letters does not fit into {width}x{height} pixels;"
                    " shorten it"
                )
            font_size -= 1
        bottom = height - margin
        self._shape = (height, width, 3)
        self._rows = slice(bottom - cover.shape[1], bottom)
        self._columns = slice(margin, margin + cover.shape[2])
        letters, box = cover
        # white where letters are, black elsewhere in the box: frame * keep + add
        self._keep = ((1 - letters) * (1 - box))[:, :, None]  # (h, w, 1)
        self._add = (255 * letters)[:, :, None]  # (h, w, 1)

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """A labelled copy of a (H, W, 3) uint8 RGB frame."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"frame is {frame.shape} {frame.dtype}, not {self._shape} uint8")
        labelled = frame.copy()
        under = frame[self._rows, self._columns]
        labelled[self._rows, self._columns] = np.rint(under * self._keep + self._add)
        return labelled


def check_text(text: str) -> None:
    """Refuse a label that cannot be drawn, before any work is done.

    Raises:
        UsageError: the text is empty, has more than one line or letters that no font here has.
    """
    if not text.strip():
        raise UsageError("the label is empty; give a text as --label 'AI-generated'")
    if not text.isprintable():
        raise UsageError("the label has line breaks or control characters; give one plain line")
    _font(text, _LEAST_FONT_SIZE)


def _draw(text: str, font_size: int) -> np.ndarray:
    """Opacity of the letters and of the box around them, (2, h, w) float32 in 0..1."""
    font = _font(text, font_size)
    left, top, right, bottom = font.getbbox(text)
    padding = round(_MARGIN * font_size)
    size = (round(right - left) + 2 * padding, round(bottom - top) + 2 * padding)
    picture = Image.new("L", size)
    origin = (padding - left, padding - top)
    ImageDraw.Draw(picture).text(origin, text, fill=255, font=font)  # type: ignore[arg-type]
    letters = np.asarray(picture, np.float32) / 255
    return np.stack([letters, np.full_like(letters, _BOX_ALPHA)])


def _font(text: str, font_size: int) -> _Font:
    """Pillow's own font, the same everywhere, or the first of the system's with all letters."""
    own: _Font = ImageFont.load_default(font_size)
    missing = _missing(own, text)
    for name in _SYSTEM_FONTS if missing else ():
        try:
            font: _Font = ImageFont.truetype(name, font_size)
        except OSError:
            continue
        if not _missing(font, text):
            return font
    if missing:
        raise UsageError(
            f"no font here has the label's {' '.join(missing)}; write it in plain letters,"
            " or install the DejaVu fonts"
        )
    return own


def _missing(font: _Font, text: str) -> list[str]:
    """Letters that a font would draw as its sign for letters it lacks."""
    lacking = bytes(font.getmask("\uffff"))  # type: ignore[call-overload]
    seen = dict.fromkeys(letter for letter in text if not letter.isspace())
    return [
        letter
        for letter in seen
        if bytes(font.getmask(letter)) == lacking  # type: ignore[call-overload]
    ]
