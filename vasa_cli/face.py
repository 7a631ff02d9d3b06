"""From a picture to a face: find it, read its points, fit its code, cut its square."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vasa_cli import irises, large_eyes
from vasa_cli.detection import Detection, FaceFinder
from vasa_cli.geometry import CROP_FACE_HEIGHT, CROP_ORIGIN_Y, LIPS, FaceCode, Geometry, align
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
from vasa_cli.models.fields import Patch, across_eyes, patch_around, turned_square
from vasa_cli.squares import Window, cut_square, to_tensor

# pixels of the upright region around a face from which all crops of the encoder are cut
REGION_SIDE = 512
REGION_EXTENT = 2.4  # its side in face heights
# A face that is followed: pixels in which the detector must see it where it is thought to be, and
# the score it must give, which is less than for a stranger's.
SEEN_SIDE, SEEN_SCORE = 256, 0.35
SEEN_EXTENT = 2.0  # of what it is shown, in face heights: it sees faces of that size best
SEEN_NEAR, SEEN_SIZE = 0.35, 1.6  # how far off, in face heights, and as a ratio either way
N_LARGE_LOOKS = 3  # at an eye larger than a person's, each from where the one before saw it
N_FACE_POINTS = 468  # the mesh's, before the irises'
N_PASSES = 2  # of the whole-face regressor, each on a better-placed square, before careful looks


@dataclass(frozen=True)
class Look:
    """How a regressor is shown a part of a face: the mean of several looks is nearer the truth."""

    size: float = 1.0  # of the square, of its usual
    turn: float = 0.0  # of the square, in radians
    mirrored: bool = False

    def at(self, square: Patch) -> Patch:
        """Squares (B,) as this look has them."""
        sine, cosine = math.sin(self.turn) * self.size, math.cos(self.turn) * self.size
        right, down, middle = square.affine.unbind(-1)
        right, down = cosine * right + sine * down, cosine * down - sine * right
        return Patch(torch.stack([-right if self.mirrored else right, down, middle], -1))


# One photo is read so: faces are 6 %, lips and lids 4 to 7 % nearer to the mesh than by one look.
CAREFUL = (
    Look(0.96, 0.05),
    Look(1.04, -0.05),
    Look(0.96, -0.05, mirrored=True),
    Look(1.04, 0.05, mirrored=True),
)
QUICK = (Look(),)


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
        self.finder = FaceFinder(detector, device)
        whole = geometry.mirror_index().tolist()
        # which of a part's points each becomes in a mirrored face
        self._mirror = {"face": whole, "lips": [LIPS.index(whole[k]) for k in LIPS]}

    def detect(self, image: np.ndarray) -> list[Detection]:
        """Faces of a picture (H, W, 3) uint8, from left to right."""
        return self.finder.find(image)

    @torch.inference_mode()
    def read_points(self, image: np.ndarray, face: Detection) -> np.ndarray:
        """The 478 points (478, 3) of a found face, in pixels of the picture with depth."""
        half = face.height * REGION_EXTENT / 2
        region = cut_square(image, Window(face.x, face.y, half), REGION_SIDE)
        picture = to_tensor(region[None], self.device)
        square = turned_square(
            torch.zeros(1, 2), torch.full((1,), FACE_EXTENT / REGION_EXTENT), torch.zeros(1)
        )
        points = self._regress(picture, square, "face")
        for _ in range(N_PASSES - 1):
            points = self._regress(picture, whole_face_square(points), "face")
        points = self.read_carefully(picture, points)
        return points[0].numpy().astype(np.float64) * half + [face.x, face.y, 0.0]

    @torch.inference_mode()
    def read_carefully(self, pictures: Tensor, points: Tensor) -> Tensor:
        """Points (B, 478, 3) of pictures (B, 3, S, S) by several looks, from those of one look."""
        points = self._mean(pictures, whole_face_square(points), "face", CAREFUL)
        return self.refine(pictures, points, looks=CAREFUL, drawn=True)

    @torch.inference_mode()
    def read_face(self, pictures: Tensor, square: Patch) -> Tensor:
        """One quick pass of the whole-face regressor: points (B, 478, 3) in [-1, 1] of pictures.

        Args: pictures (B, 3, S, S), and the square of each in which the face is looked for.
        """
        return self._regress(pictures, square, "face", bf16=self.bf16)

    @torch.inference_mode()
    def refine(
        self,
        pictures: Tensor,
        points: Tensor,
        *,
        looks: tuple[Look, ...] = QUICK,
        drawn: bool = False,
    ) -> Tensor:
        """Lips and eyes read on their own: better points (B, 478, 3) of pictures (B, 3, S, S).

        Args: drawn reads eyes larger than a person's again; in a film their lids would flicker.
        """
        before, points = points, points.clone()
        for part, index, extent, mirrored in (
            ("lips", LIPS, LIPS_EXTENT, False),
            ("eye", LEFT_EYE, EYE_EXTENT, False),
            ("eye", RIGHT_EYE, EYE_EXTENT, True),
        ):
            square = patch_around(points, index, extent, mirrored=mirrored)
            points[:, list(index)] = self._mean(pictures, square, part, looks)
        if drawn:
            for index, mirrored in ((LEFT_EYE, False), (RIGHT_EYE, True)):
                self._reread_large(pictures, points, before, index, mirrored=mirrored, looks=looks)
        return irises.found(pictures, points)

    def _reread_large(
        self,
        pictures: Tensor,
        points: Tensor,
        before: Tensor,
        index: tuple[int, ...],
        *,
        mirrored: bool,
        looks: tuple[Look, ...],
    ) -> None:
        """Read an eye again, in place, where it is larger than a person's.

        Args: before (B, 478, 3), what of its surroundings goes with it was read with.
        """
        share = large_eyes.share(points, index)
        rows = share.nonzero()[:, 0]
        if not len(rows):
            return
        seen, here, eye = pictures[rows.to(pictures.device)], points[rows], list(index)
        for _ in range(N_LARGE_LOOKS):
            square = patch_around(here, index, EYE_EXTENT, mirrored=mirrored)
            square = large_eyes.widened(square, large_eyes.widths(here, index[:2]))
            here[:, eye] = self._mean(seen, square, "eye", looks)
        here = large_eyes.lowered(seen, here, index)
        lids = tuple(k for k in index if k < N_FACE_POINTS)
        whole = large_eyes.carry(here, before[rows], lids)
        points[rows] += (whole - points[rows]) * share[rows, None, None]

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

    def _mean(self, pictures: Tensor, square: Patch, part: str, looks: tuple[Look, ...]) -> Tensor:
        """What several looks at a part of faces find on average, (B, n, 3)."""
        order = self._mirror.get(part)
        if order is None:  # an eye has a side of its own
            looks = tuple(replace(look, mirrored=False) for look in looks)
        if len(looks) > 1:
            pictures = pictures.repeat(len(looks), 1, 1, 1)
        squares = Patch(torch.cat([look.at(square).affine for look in looks]))
        found = self._regress(pictures, squares, part).chunk(len(looks))
        alike = [p[:, order] if look.mirrored else p for p, look in zip(found, looks)]
        return torch.stack(alike).mean(0)

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
    across = across_eyes(points)
    height = (points[:, 10, :2] - points[:, 152, :2]).norm(dim=-1)
    return turned_square(
        points[:, :468, :2].mean(1),
        height * FACE_EXTENT / 2,
        torch.atan2(across[:, 1], across[:, 0]),
    )
