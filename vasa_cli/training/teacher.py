"""Label videos and pictures with MediaPipe's face landmarker, in an environment of its own.

MediaPipe needs numpy below 2, so this file runs under another interpreter than the rest of vasa and
imports nothing from it: `vasa train prepare` starts it as
``TEACHER_PYTHON teacher.py MODEL CACHE < list of files``.

For every file it writes to the cache, under one stem:
    STEM.frames   the frames as JPEG, one after the other
    STEM.npz      offsets (T + 1,), size (height, width), fps, points (T, 478, 3) float32 in pixels
                  with depth, found (T,) bool, blendshapes (T, 52) float16, head_matrix (T, 4, 4)
                  float32 in centimetres; written last, so it marks completion
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any, Iterator

os.environ.setdefault("GLOG_minloglevel", "3")

N_POINTS, N_BLENDSHAPES = 478, 52
VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"}
MAX_SIDE_PX = 768
JPEG_QUALITY = 94


def cache_stem(path: Path) -> str:
    """Name of a file's labels in the cache: its own name and a hash of its resolved path."""
    return f"{path.stem[:40]}-{hashlib.sha1(str(path.resolve()).encode()).hexdigest()[:10]}"


def read_frames(path: Path) -> Iterator[Any]:
    """RGB frames (H, W, 3) uint8 of a video, or the one of a picture, shrunk to MAX_SIDE_PX."""
    import cv2

    if path.suffix.lower() in VIDEO_SUFFIXES:
        capture = cv2.VideoCapture(str(path))
        while True:
            ok, frame = capture.read()
            if not ok:
                break
            yield shrink(frame)[..., ::-1]
        capture.release()
        return
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is not None:
        yield shrink(picture)[..., ::-1]


def shrink(frame: Any) -> Any:
    import cv2

    scale = MAX_SIDE_PX / max(frame.shape[:2])
    if scale >= 1:
        return frame
    return cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def frame_rate(path: Path) -> float:
    import cv2

    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return 0.0
    return float(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) or 25.0)


def label(path: Path, landmarker: Any, cache: Path) -> int:
    """Write one file's frames and labels; the number of frames in which a face was found."""
    import cv2
    import mediapipe as mp
    import numpy as np

    stem = cache / cache_stem(path)
    offsets, points, found, scores, matrices, size = [0], [], [], [], [], (0, 0)
    with open(stem.with_name(stem.name + ".frames"), "wb") as pack:
        for frame in read_frames(path):
            frame = np.ascontiguousarray(frame)
            size = frame.shape[:2]
            # single pictures, not the video mode: its smoothing delays the lips
            result = landmarker.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=frame))
            hit = bool(result.face_landmarks)
            scale = np.array([size[1], size[0], size[1]], np.float32)
            marks = np.zeros((N_POINTS, 3), np.float32)
            if hit:
                marks = np.array([[p.x, p.y, p.z] for p in result.face_landmarks[0]], np.float32)
            points.append(marks * scale)
            found.append(hit)
            scores.append(
                [b.score for b in result.face_blendshapes[0]] if hit else [0.0] * N_BLENDSHAPES
            )
            matrices.append(result.facial_transformation_matrixes[0] if hit else np.eye(4))
            quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            jpeg = cv2.imencode(".jpg", frame[..., ::-1], quality)[1].tobytes()
            pack.write(jpeg)
            offsets.append(offsets[-1] + len(jpeg))
    target = stem.with_name(stem.name + ".npz")
    partial = target.with_suffix(".part.npz")
    np.savez(
        partial,
        source=str(path),
        offsets=np.array(offsets),
        size=size,
        fps=frame_rate(path),
        points=np.array(points, np.float32).reshape(-1, N_POINTS, 3),
        found=np.array(found, bool),
        blendshapes=np.array(scores, np.float16).reshape(-1, N_BLENDSHAPES),
        head_matrix=np.array(matrices, np.float32).reshape(-1, 4, 4),
    )
    partial.replace(target)
    return sum(found)


def main() -> None:
    from mediapipe.tasks.python import BaseOptions, vision

    model, cache = sys.argv[1], Path(sys.argv[2])
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=model),
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        for line in sys.stdin:
            path = Path(line.rstrip("\n"))
            if not (cache / f"{cache_stem(path)}.npz").exists():
                print(path, label(path, landmarker, cache), flush=True)


if __name__ == "__main__":
    main()
