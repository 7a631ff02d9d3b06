"""From a picture to a face: find it, read its points, fit its code, cut its square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from vasa_cli.device_copies import to_host
from vasa_cli.geometry import CROP_FACE_HEIGHT, CROP_ORIGIN_Y, LIPS, FaceCode, Geometry, align
from vasa_cli.models import detector as detector_model
from vasa_cli.models.blocks import channels_last
from vasa_cli.models.detector import FaceDetector, decode_boxes
from vasa_cli.models.encoder import (
    EYE_EXTENT,
    EYE_SIDE,
    FACE_EXTENT,
    FACE_SIDE,
    LEFT_EYE,
    LIPS_EXTENT,
    LIPS_SIDE,
    RIGHT_EYE,
    FaceEncoder,
)
from vasa_cli.models.fields import Patch, patch_around, turned_square

SURE_SCORE = 0.8  # a face that scores so much is believed at once
DOUBTFUL_SCORE = (
    0.35  # one that scores less is forgotten at once; between them it is looked at again
)
SECOND_SCORE = 0.74  # what the second look must give; texture without a face reaches 0.70
N_DOUBTFUL = 8  # second looks a level, best first
SECOND_EXTENTS = (3.0, 2.0)  # sides of the squares looked at, in face heights; one of them must do
TILE_LEVELS = (1, 2, 4)  # a picture is searched whole, then at twice and four times the resolution
# pixels of the upright region around a face from which all crops of the encoder are cut
REGION_SIDE = 512
REGION_EXTENT = 2.4  # its side in face heights
# A face that is followed: pixels in which the detector must see it where it is thought to be, and
# the score it must give, which is less than for a stranger's.
SEEN_SIDE, SEEN_SCORE = 256, 0.35
SEEN_EXTENT = 2.0  # of what it is shown, in face heights: it sees faces of that size best
SEEN_NEAR, SEEN_SIZE = 0.35, 1.6  # how far off, in face heights, and as a ratio either way
N_PASSES = 3  # of the whole-face regressor, each on a better-placed square


@dataclass(frozen=True)
class Detection:
    """One face in a picture, in pixels: centre of its points, height from forehead to chin."""

    x: float
    y: float
    height: float
    score: float  # 0 to 1


@dataclass(frozen=True)
class Window:
    """The square of a picture that is animated: centre and half side in pixels."""

    x: float
    y: float
    half: float

    def from_crop(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in crop units to pixels."""
        return points * self.half + [self.x, self.y, 0.0]

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in pixels to crop units."""
        return (points - [self.x, self.y, 0.0]) / self.half

    def edges(self, picture: np.ndarray) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what of the square is picture (H, W, 3), crop units."""
        height, width = picture.shape[:2]
        (left, top, _), (right, bottom, _) = np.clip(
            self.to_crop(np.array([[0.0, 0.0, 0.0], [width, height, 0.0]])), -1, 1
        )
        return float(left), float(top), float(right), float(bottom)


class FaceReader:
    """The detector, the encoder and the geometry, ready to read pictures."""

    def __init__(
        self,
        detector: FaceDetector,
        encoder: FaceEncoder,
        geometry: Geometry,
        *,
        device: torch.device,
        bf16: bool = False,
    ) -> None:
        """Args: bf16 reads whole faces of films in bfloat16, as `read_face` does."""
        self.detector, self.encoder = detector, encoder
        self.geometry, self.device, self.bf16 = geometry, device, bf16

    @torch.inference_mode()
    def detect(self, image: np.ndarray) -> list[Detection]:
        """Faces of a picture (H, W, 3) uint8, from left to right.

        What is neither sure nor hopeless is looked at again by itself, at a better size and place.
        Finer tiles are searched only while nothing was found.
        """
        for level in TILE_LEVELS:
            if level > 1 and max(image.shape[:2]) < detector_model.SIDE * level / 2:
                break
            seen = without_doubles(self._search(image, level))
            sure = [face for face in seen if face.score >= SURE_SCORE]
            for face in [face for face in seen if face.score < SURE_SCORE][:N_DOUBTFUL]:
                sure += self._second_look(image, face)
            if sure:
                return sorted(without_doubles(sure), key=lambda d: d.x)
        return []

    def _second_look(self, image: np.ndarray, face: Detection) -> list[Detection]:
        """The face again, found in squares around where it may be; nothing when it is not there."""
        side = detector_model.SIDE
        windows = [Window(face.x, face.y, face.height * extent / 2) for extent in SECOND_EXTENTS]
        squares = np.stack([cut_square(image, window, side) for window in windows])
        maps = self.detector(to_tensor(squares, self.device))
        again = []
        for window, boxes in zip(windows, decode_boxes(maps, threshold=SECOND_SCORE)):
            unit = 2 * window.half / side
            for x, y, height, score in boxes[:1].tolist():
                place = (window.x - window.half + x * unit, window.y - window.half + y * unit)
                again.append(Detection(*place, height * unit, score))
        return sorted(again, key=lambda d: -d.score)[:1]

    def _search(self, image: np.ndarray, level: int) -> list[Detection]:
        """One pass over overlapping tiles, level x 256 pixels for the longer side."""
        side = detector_model.SIDE
        scale = side * level / max(image.shape[:2])
        height, width = (max(1, round(n * scale)) for n in image.shape[:2])
        kernel = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
        small = np.asarray(Image.fromarray(image).resize((width, height), kernel))
        tiles, origins = [], []
        for top in tile_starts(height, side):
            for left in tile_starts(width, side):
                tile = np.full((side, side, 3), 127, np.uint8)
                part = small[top : top + side, left : left + side]
                tile[: part.shape[0], : part.shape[1]] = part
                tiles.append(tile)
                origins.append((left, top))
        maps = self.detector(to_tensor(np.stack(tiles), self.device))
        boxes = decode_boxes(maps, threshold=DOUBTFUL_SCORE)
        return [
            Detection(
                (float(b[0]) + left) / scale,
                (float(b[1]) + top) / scale,
                float(b[2]) / scale,
                float(b[3]),
            )
            for found, (left, top) in zip(boxes, origins)
            for b in found
        ]

    @torch.inference_mode()
    def read_points(self, image: np.ndarray, face: Detection) -> np.ndarray:
        """The 478 points (478, 3) of a found face, in pixels of the picture with depth."""
        half = face.height * REGION_EXTENT / 2
        region = cut_square(image, Window(face.x, face.y, half), REGION_SIDE)
        picture = to_tensor(region[None], self.device)
        square = turned_square(
            torch.zeros(1, 2), torch.full((1,), FACE_EXTENT / REGION_EXTENT), torch.zeros(1)
        )
        for _ in range(N_PASSES):
            points = self._regress(picture, square, "face")
            square = whole_face_square(points)
        points = self.refine(picture, points)
        return points[0].numpy().astype(np.float64) * half + [face.x, face.y, 0.0]

    @torch.inference_mode()
    def read_face(self, pictures: Tensor, square: Patch) -> Tensor:
        """One quick pass of the whole-face regressor: points (B, 478, 3) in [-1, 1] of pictures.

        Args: pictures (B, 3, S, S), and the square of each in which the face is looked for.
        """
        return self._regress(pictures, square, "face", bf16=self.bf16)

    @torch.inference_mode()
    def refine(self, pictures: Tensor, points: Tensor) -> Tensor:
        """The second look at lips and eyes: better points (B, 478, 3) of pictures (B, 3, S, S)."""
        points = points.clone()
        lips = self._regress(pictures, patch_around(points, LIPS, LIPS_EXTENT), "lips")
        left = self._regress(pictures, patch_around(points, LEFT_EYE, EYE_EXTENT), "eye")
        right = self._regress(
            pictures, patch_around(points, RIGHT_EYE, EYE_EXTENT, mirrored=True), "eye"
        )
        for index, better in ((LIPS, lips), (LEFT_EYE, left), (RIGHT_EYE, right)):
            points[:, list(index)] = better
        return points

    @torch.inference_mode()
    def sees(self, pictures: Tensor, points: Tensor) -> np.ndarray:
        """Whether the detector sees a face where its points are thought to be, (B,).

        The regressor puts points everywhere, also where there is no face.

        Args: pictures (B, 3, S, S) of one face each, REGION_EXTENT face heights wide; points (B,
            478, 3) in their [-1, 1].
        """
        margin = round(pictures.shape[-1] * (1 - SEEN_EXTENT / REGION_EXTENT) / 2)
        inner = pictures[..., margin:-margin, margin:-margin]
        small = channels_last(interpolate(inner, size=(SEEN_SIDE, SEEN_SIDE), mode="area"))
        boxes = decode_boxes(self.detector(small).cpu(), threshold=SEEN_SCORE)
        unit = SEEN_SIDE / 2 * REGION_EXTENT / SEEN_EXTENT  # pixels
        middle = points[:, :468, :2].mean(1) * unit + SEEN_SIDE / 2
        height = (points[:, 10, :2] - points[:, 152, :2]).norm(dim=-1) * unit
        seen = []
        for found, where, size in zip(boxes, middle, height.clamp_min(1e-6)):
            near = (found[:, :2] - where).norm(dim=1) < SEEN_NEAR * size
            ratio = found[:, 2] / size
            seen.append(bool((near & (ratio < SEEN_SIZE) & (ratio > 1 / SEEN_SIZE)).any()))
        return np.array(seen)

    def _regress(self, picture: Tensor, square: Patch, part: str, *, bf16: bool = False) -> Tensor:
        side = {"face": FACE_SIDE, "lips": LIPS_SIDE, "eye": EYE_SIDE}[part]
        cut = Patch(square.affine.to(self.device)).cut(picture, side)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            found: Tensor = getattr(self.encoder, part)(channels_last(cut))
        return square.from_square_3d(found.float().cpu())

    def window(self, points: np.ndarray) -> Window:
        """The square to animate around points (478, 3) in pixels.

        The mean face, laid over the points, is at its resting place and size in it.
        """
        scale, _, translation = align(points[None], self.geometry.mean)
        half = float(scale[0]) / CROP_FACE_HEIGHT
        return Window(
            float(translation[0, 0]), float(translation[0, 1]) - CROP_ORIGIN_Y * half, half
        )

    def fit(self, points: np.ndarray, window: Window) -> FaceCode:
        """The code of points (478, 3) in pixels, in the units of a window."""
        return self.geometry.fit(window.to_crop(points))


def whole_face_square(points: Tensor) -> Patch:
    """The square in which the whole-face regressor likes to see points (B, 478, 3).

    Upright, centred, of the regressor's extent.
    """
    across = points[:, [263, 362], :2].mean(1) - points[:, [33, 133], :2].mean(1)
    height = (points[:, 10, :2] - points[:, 152, :2]).norm(dim=-1)
    return turned_square(
        points[:, :468, :2].mean(1),
        height * FACE_EXTENT / 2,
        torch.atan2(across[:, 1], across[:, 0]),
    )


def tile_starts(length: int, side: int) -> list[int]:
    """Where tiles of a side begin so that they cover a length, overlapping by half."""
    if length <= side:
        return [0]
    n = int(np.ceil((length - side) / (side / 2))) + 1
    return [round(k * (length - side) / (n - 1)) for k in range(n)]


def without_doubles(found: list[Detection]) -> list[Detection]:
    """The best of detections that lie within half a face of each other."""
    kept: list[Detection] = []
    for face in sorted(found, key=lambda d: -d.score):
        if all(
            np.hypot(face.x - k.x, face.y - k.y) > 0.5 * max(face.height, k.height) for k in kept
        ):
            kept.append(face)
    return kept


def to_tensor(images: Sequence[np.ndarray] | np.ndarray, device: torch.device) -> Tensor:
    """Pictures (H, W, 3) uint8, all of one size, to (B, 3, H, W) in [-1, 1]."""
    if device.type != "cpu":
        levels = torch.tensor(np.asarray(images), device=device).float().div_(127.5).sub_(1)
    else:
        levels = torch.empty(len(images), *images[0].shape)
        for level, image in zip(levels.numpy(), images):  # nothing is copied before
            np.divide(image, 127.5, out=level, dtype=np.float32)
            level -= 1
    return channels_last(levels.permute(0, 3, 1, 2))


def to_pixels(images: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [-1, 1] to (B, H, W, 3) uint8; on a CPU the images are used up."""
    if images.device.type != "cpu":
        rounded = images.mul(127.5).add_(128).clamp_(0, 255).to(torch.uint8)
        return to_host(rounded.permute(0, 2, 3, 1).contiguous())
    pixels = np.empty((len(images), *images.shape[2:], 3), np.uint8)
    for image, picture in zip(pixels, images):  # one by one, which a processor's cache holds
        levels = picture.mul_(127.5).add_(128).clamp_(0, 255).numpy()
        for channel in range(3):
            image[..., channel] = levels[channel]  # rounds down
    return pixels


def each_picture(squares: Iterable[Tensor]) -> Iterator[np.ndarray]:
    """Squares (1, 3, S, S) in [-1, 1] as (S, S, 3) uint8, as `to_pixels` has them.

    Of a GPU they come all at once, for it is to be waited for no more often than it must.
    """
    squares = iter(squares)
    for square in squares:
        if square.device.type == "cpu":
            yield to_pixels(square)[0]
        else:
            yield from to_pixels(torch.cat([square, *squares]))


def cut_square(
    image: np.ndarray,
    window: Window,
    side: int,
    *,
    kernel: Image.Resampling = Image.Resampling.LANCZOS,
) -> np.ndarray:
    """A window of a picture (H, W, 3) as (side, side, 3) uint8; its edge is repeated beyond it."""
    height, width = image.shape[:2]
    left, right = window.x - window.half, window.x + window.half
    top, bottom = window.y - window.half, window.y + window.half
    # at least a pixel of the picture, also where the window lies beside it
    x0, y0 = (min(max(0, int(np.floor(v)) - 2), n - 1) for v, n in ((left, width), (top, height)))
    x1, y1 = (max(1, min(n, int(np.ceil(v)) + 2)) for v, n in ((right, width), (bottom, height)))
    pads = [max(0, int(np.ceil(p)) + 2) for p in (-top, bottom - height, -left, right - width)]
    part = np.pad(
        image[y0:y1, x0:x1], ((pads[0], pads[1]), (pads[2], pads[3]), (0, 0)), mode="edge"
    )
    dx, dy = left - x0 + pads[2], top - y0 + pads[0]
    if right - left == side and dx == int(dx) and dy == int(dy):  # pixel for pixel
        return np.ascontiguousarray(part[int(dy) : int(dy) + side, int(dx) : int(dx) + side])
    box = (
        max(dx, 0.0),
        max(dy, 0.0),
        min(dx + 2 * window.half, part.shape[1]),
        min(dy + 2 * window.half, part.shape[0]),
    )
    return np.asarray(Image.fromarray(part).resize((side, side), kernel, box=box))


def whole_pixels(window: Window) -> Window:
    """The window whose edges lie between pixels that is nearest to one."""
    size = max(1, round(2 * window.half))
    left, top = (round(middle - size / 2) for middle in (window.x, window.y))
    return Window(left + size / 2, top + size / 2, size / 2)


def cut_quickly(image: np.ndarray, window: Window, side: int) -> np.ndarray:
    """A window of whole pixels of a picture (H, W, 3) as (side, side, 3) uint8.

    As `cut_square` by linear means, in a third of the time: PyTorch shrinks bytes faster than
    Pillow. The picture's edge is repeated beyond it.
    """
    height, width = image.shape[:2]
    left, top = int(window.x - window.half), int(window.y - window.half)
    right, bottom = left + int(2 * window.half), top + int(2 * window.half)
    # at least a pixel of the picture, also where the window lies beside it
    x0, x1 = min(max(0, left), width - 1), max(1, min(width, right))
    y0, y1 = min(max(0, top), height - 1), max(1, min(height, bottom))
    pads = ((max(0, -top), max(0, bottom - height)), (max(0, -left), max(0, right - width)), (0, 0))
    part = np.pad(image[y0:y1, x0:x1], pads, mode="edge")
    part = part[max(0, top - y0) :, max(0, left - x0) :][: bottom - top, : right - left]
    levels = torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1)[None]
    cut = interpolate(levels, size=(side, side), mode="bilinear", antialias=True)
    return cut[0].permute(1, 2, 0).contiguous().numpy()
