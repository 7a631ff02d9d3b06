"""How well a photo can be made to look like other frames of its own clip, in figures.

The first frame of a clip plays the photo; every other frame lends its points and is the truth.
Beside the decoder stand the photo unmoved and the motion field alone, measured by the same code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, Protocol

import numpy as np
import torch
from torch import Tensor

from vasa_cli.compare import psnr_db, ssim
from vasa_cli.detection import Detection
from vasa_cli.errors import InputError
from vasa_cli.face import FaceReader
from vasa_cli.models import fields
from vasa_cli.models.decoder import Decoder
from vasa_cli.models.fields import Patch
from vasa_cli.models.moved import sample_whole
from vasa_cli.models.painting import EYE_EXTENT, MOUTH_EXTENT
from vasa_cli.squares import Window, cut_square, to_tensor
from vasa_cli.video import read_video

SIDE = 320  # pixels of the square around the head that is measured
MOUTH_SIDE, EYE_SIDE = 128, 96  # pixels of the crops
FACE_EXTENT, FACE_SIDE = 1.15, (112, 96)  # of the crop from which identity is read
FRAME_STEP = 5  # every how many frames of a clip are measured
METHODS = ("still", "field", "full")
VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"}


class Judge(Protocol):
    """A network that says how alike pictures (B, 3, H, W) look and whose faces they show."""

    def distance(self, a: Tensor, b: Tensor) -> Tensor: ...

    def embedding(self, faces: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Clip:
    """What is measured of one clip: frames (T, 3, S, S) in [-1, 1], their points (T, 478, 3)."""

    name: str
    frames: Tensor
    points: Tensor


def find_clips(
    folder: Path, *, limit: int | None = None, names: set[str] | None = None
) -> list[Path]:
    """Videos of a folder, in a fixed order; spread over all of them when limited.

    Raises:
        InputError: there is none.
    """
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
    found = [p for p in found if names is None or p.name in names]
    if not found:
        raise InputError(f"no video in {folder}; give a folder of face clips")
    if limit is None or limit >= len(found):
        return found
    return [found[k] for k in np.linspace(0, len(found) - 1, limit).astype(int)]


def read_clip(path: Path, reader: FaceReader, *, max_frames: int = 60) -> Clip | None:
    """Some frames of a clip in one fixed window, or None when its first frame shows no face."""
    images, marks = [], []
    face: Detection | None = None
    window: Window | None = None
    for k, image in enumerate(read_video(path)):
        if k % FRAME_STEP:
            continue
        if face is None:
            faces = reader.detect(image)
            if not faces:
                return None
            face = max(faces, key=lambda f: f.height)
        points = reader.read_points(image, face)
        before, face = face, following(points)
        height, width = image.shape[:2]
        lost = not (0 < face.x < width and 0 < face.y < height)
        if lost or not 0.6 < face.height / before.height < 1.6:
            break
        window = window or reader.window(points)
        images.append(cut_square(image, window, SIDE))
        marks.append(window.to_crop(points))
        if len(images) == max_frames:
            break
    if len(images) < 2:
        return None
    frames = to_tensor(np.stack(images), reader.device)
    return Clip(path.name, frames, torch.from_numpy(np.stack(marks)).float())


def following(points: np.ndarray) -> Detection:
    """Where to look for a face whose points (478, 3) were read in the frame before."""
    x, y = points[:468, :2].mean(0)
    return Detection(
        float(x), float(y), float(np.linalg.norm(points[10, :2] - points[152, :2])), 1.0
    )


@torch.inference_mode()
def reenact(
    decoder: Decoder, clip: Clip, *, batch: int = 8
) -> Iterator[tuple[Tensor, Tensor, dict[str, Tensor]]]:
    """Batches of true frames, their points, and what each method makes of them."""
    seen = decoder.look(clip.frames[:1], clip.points[:1])
    for start in range(1, len(clip.frames), batch):
        truth, points = clip.frames[start : start + batch], clip.points[start : start + batch]
        n = len(truth)
        field = decoder.move(seen.expand(n), points)
        made = {
            "still": clip.frames[:1].expand(n, -1, -1, -1),
            "field": sample_whole(seen.expand(n).photo, field),
            "full": decoder.compose(seen.expand(n), points),
        }
        yield truth, points, made


def crops(frames: Tensor, points: Tensor) -> dict[str, Tensor]:
    """Whole face, mouth, and both eyes below each other, of frames (B, 3, S, S)."""
    eyes = [
        fields.eye_patch(points, eye, EYE_EXTENT).cut(frames, EYE_SIDE) for eye in ("left", "right")
    ]
    middle = tuple(range(468))
    return {
        "face": fields.patch_around(points, middle, FACE_EXTENT).cut(frames, 2 * EYE_SIDE),
        "mouth": fields.mouth_patch(points, MOUTH_EXTENT).cut(frames, MOUTH_SIDE),
        "eyes": torch.cat(eyes, 2),
    }


def sharpness(pictures: Tensor) -> Tensor:
    """Mean size of what a 3x3 mean takes away, (B,)."""
    return (pictures - torch.nn.functional.avg_pool2d(pictures, 3, 1, 1)).abs().mean((1, 2, 3))


def identity_faces(frames: Tensor, points: Tensor) -> Tensor:
    """Faces as the judge wants them, (B, 3, 112, 96)."""
    square: Patch = fields.patch_around(points, (33, 263, 61, 291, 1), FACE_EXTENT)
    faces = square.cut(frames, FACE_SIDE[0])
    margin = (FACE_SIDE[0] - FACE_SIDE[1]) // 2
    return faces[..., margin : FACE_SIDE[0] - margin]


def evaluate(
    clips: list[Path],
    reader: FaceReader,
    decoder: Decoder,
    *,
    judge: Judge | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, dict[str, float]]:
    """Figures of every method, means over clips.

    PSNR and SSIM; sharpness and flicker (second difference) relative to the truth; with a judge
    perceptual distance and identity similarity. Each for the face, the mouth and the eyes.

    Raises:
        InputError: no clip shows a face.
    """
    rows: dict[str, list[dict[str, float]]] = {m: [] for m in METHODS}
    for path in clips:
        clip = read_clip(path, reader)
        if clip is None:
            tell(f"{path.name}: no face, left out")
            continue
        for method, figures in clip_figures(decoder, clip, judge).items():
            rows[method].append(figures)
        tell(f"{path.name}: {rows['full'][-1]}")
    if not rows["full"]:
        raise InputError("no clip shows a face; give clips of faces from the front")
    return {
        method: {key: float(np.mean([r[key] for r in found])) for key in found[0]}
        | {"clips": float(len(found))}
        for method, found in rows.items()
    }


def clip_figures(decoder: Decoder, clip: Clip, judge: Judge | None) -> dict[str, dict[str, float]]:
    """Figures of every method on one clip."""
    parts: dict[str, dict[str, list[Tensor]]] = {m: {} for m in ("truth", *METHODS)}
    for truth, points, made in reenact(decoder, clip):
        for method, frames in (("truth", truth), *made.items()):
            for name, part in (
                *crops(frames, points).items(),
                ("identity", identity_faces(frames, points)),
            ):
                parts[method].setdefault(name, []).append(part)
    joined = {
        m: {name: torch.cat(some) for name, some in found.items()} for m, found in parts.items()
    }
    return {m: method_figures(joined[m], joined["truth"], judge) for m in METHODS}


@torch.inference_mode()
def method_figures(
    made: dict[str, Tensor], truth: dict[str, Tensor], judge: Judge | None
) -> dict[str, float]:
    """One method's crops (T, 3, h, w) against the true ones."""
    found: dict[str, float] = {}
    for name in ("face", "mouth", "eyes"):
        ours, real = made[name], truth[name]
        pairs = list(zip(to_pixels(ours), to_pixels(real)))
        found[f"{name}_psnr_db"] = float(np.mean([psnr_db(a, b) for a, b in pairs]))
        found[f"{name}_ssim"] = float(np.mean([ssim(a, b) for a, b in pairs]))
        found[f"{name}_sharpness"] = float(
            (sharpness(ours) / sharpness(real).clamp_min(1e-6)).mean()
        )
        if len(ours) > 2:
            flicker = [float(x.diff(n=2, dim=0).abs().mean()) for x in (ours, real)]
            found[f"{name}_flicker"] = flicker[0] / max(flicker[1], 1e-6)
        if judge is not None:
            found[f"{name}_perceptual"] = float(judge.distance(ours, real).mean())
    if judge is not None:
        a, b = (judge.embedding(x["identity"]) for x in (made, truth))
        found["identity_similarity"] = float((a * b).sum(1).mean())
        found["identity_similarity_real"] = (
            float((b[1:] * b[:-1]).sum(1).mean()) if len(b) > 1 else 1.0
        )
    return found


def to_pixels(pictures: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [-1, 1] to (B, H, W, 3) uint8."""
    return pictures.add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
