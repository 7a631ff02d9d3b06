"""The straight line from a portrait and a speech to an MP4."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch

from vasa_cli import image, sampling, video
from vasa_cli.audio import Audio, frame_count, load_audio
from vasa_cli.config import (
    MOTION_FPS,
    SAMPLING,
    Progress,
    ProgressCallback,
    RenderOptions,
    RenderResult,
)
from vasa_cli.controls import apply_controls
from vasa_cli.detection import Detection
from vasa_cli.device_copies import own_stream, to_device
from vasa_cli.errors import InputError, UsageError
from vasa_cli.face import FaceReader
from vasa_cli.geometry import FaceCode
from vasa_cli.label import Label
from vasa_cli.loading import Models, choose_device, load_models
from vasa_cli.models.decoder import Appearance
from vasa_cli.models.zoom import Zoom, beyond_free
from vasa_cli.motion import Motion, perform
from vasa_cli.motion_edit import resample
from vasa_cli.motion_file import (
    Recording,
    as_stored,
    basis_of,
    check_basis,
    file_sha256,
    load_motion,
)
from vasa_cli.motion_pieces import regrouped, resampled
from vasa_cli.placement import Placement, place
from vasa_cli.provenance import Stamp
from vasa_cli.squares import Window, cut_square, each_picture, to_tensor
from vasa_cli.threads import in_order
from vasa_cli.watermark import Watermarker
from vasa_cli.weights import find_weights_dir

BATCH = 9  # frames drawn at once; see `models.tweens` for why their number is odd
PORTRAITS_KEPT = 3
TURNED_DEG = 45.0  # a photo turned further is warned about
TINY_FACE_PX = 80.0  # as is a face smaller than this


@dataclass(frozen=True, eq=False)
class Portrait:
    """A photo that was read: its face's points, code and the square to animate."""

    picture: np.ndarray  # (H, W, 3) uint8
    points: np.ndarray  # (478, 3) pixels
    window: Window
    code: FaceCode
    warnings: tuple[str, ...] = field(default=())


class Renderer:
    """Holds the networks; renders any number of videos. Not for several threads at once."""

    def __init__(self, *, weights_dir: Path | None = None, device: str = "auto") -> None:
        """Load all weights.

        Raises: UsageError for a device this machine lacks, WeightsError for weights that cannot
            be used.
        """
        self.weights_dir = find_weights_dir(weights_dir)
        self.models: Models = load_models(self.weights_dir, choose_device(device))
        self._portraits: OrderedDict[tuple[object, ...], Portrait] = OrderedDict()

    def render(
        self,
        photo: Path,
        speech: Path,
        output: Path | None = None,
        *,
        options: RenderOptions = RenderOptions(),
        progress: ProgressCallback | None = None,
    ) -> RenderResult:
        """Write the video in which the photo's face speaks; beside the speech by default.

        Raises: UsageError, InputError, ResourceError as their names say; nothing is left then.
        """
        started = time.monotonic()
        photo, speech = Path(photo), Path(speech)
        output = video.default_output(speech) if output is None else Path(output)
        video.check_output(output, force=options.force, inputs=(photo, speech))
        stamp = Stamp(options, output=output, photo=photo, weights_dir=self.weights_dir)
        tell = progress or (lambda step: None)

        tell(Progress("photo", 0, 1))
        portrait = self.read_portrait(photo, options)
        tell(Progress("speech", 0, 1))
        audio = load_audio(speech, max_seconds=options.preview_s)
        n_frames = frame_count(len(audio.samples), audio.sample_rate, options.fps)
        pieces, seed, warnings = self.perform(portrait, audio, n_frames, options, tell)
        warnings = portrait.warnings + sound_warnings(audio) + warnings
        del audio  # 115 MB an hour
        placement = place(portrait.picture, portrait.window, options)
        marks = frame_marks(placement, options)
        digest = hashlib.sha256()
        with video.VideoWriter(
            output,
            width=placement.width,
            height=placement.height,
            fps=options.fps,
            audio=speech,
            duration_s=float(n_frames / options.fps),
            crf=options.crf,
            metadata=stamp.metadata,
            threads=1,  # x264's choices follow from their number; one keeps up with the networks
            finish=stamp.finish,
        ) as writer:
            for frame in self.draw(portrait, pieces, placement, marks):
                digest.update(frame.data)
                writer.write(frame)
                tell(Progress("frames", writer.n_frames, n_frames))
            tell(Progress("encode", 0, 1))
        return RenderResult(
            output=output,
            n_frames=n_frames,
            fps=options.fps,
            width=placement.width,
            height=placement.height,
            duration_s=float(n_frames / options.fps),
            elapsed_s=time.monotonic() - started,
            seed=seed,
            device=self.models.device.type,
            frames_sha256=digest.hexdigest(),
            warnings=warnings,
            provenance=stamp.summary,
        )

    def read_portrait(self, photo: Path, options: RenderOptions) -> Portrait:
        """Find and fit the photo's face; the last few photos are remembered.

        Raises: InputError when the picture cannot be read or shows no face, UsageError for a face
            that is not there.
        """
        stat = photo.stat() if photo.is_file() else None
        key = (
            photo.resolve(),
            stat and (stat.st_mtime_ns, stat.st_size),
            options.face_box,
            options.face,
        )
        if key not in self._portraits:
            self._portraits[key] = read_portrait(self.models.reader, photo, options)
            if len(self._portraits) > PORTRAITS_KEPT:
                self._portraits.popitem(last=False)
        self._portraits.move_to_end(key)
        return self._portraits[key]

    def perform(
        self,
        portrait: Portrait,
        audio: Audio,
        n_frames: int,
        options: RenderOptions,
        tell: ProgressCallback,
    ) -> tuple[Iterable[Motion], int | None, tuple[str, ...]]:
        """The motion of all frames in pieces, the seed it was sampled with, and warnings.

        Speech that no control changes is sampled while frames are drawn; a control looks at all of
        the motion first.

        Raises: InputError as for `find_motion`.
        """
        if options.motion is None and not options.asked:
            tell(Progress("motion", 0, 1))
            sampled = map(as_stored, sampling.sample_pieces(self.models, audio, options))
            return resampled(sampled, options.fps, n_frames), options.seed, ()
        recording, warnings = self.find_motion(audio, options, tell)
        motion, limits = apply_controls(
            recording.motion.resample(options.fps, n_frames),
            options,
            code=portrait.code,
            geometry=self.models.geometry,
            emotions=self.models.emotions,
            seed=recording.seed or 0,
        )
        return [motion], recording.seed, warnings + limits

    def find_motion(
        self, audio: Audio, options: RenderOptions, tell: ProgressCallback
    ) -> tuple[Recording, tuple[str, ...]]:
        """The motion to perform to a sound, of the file that was given or sampled, and warnings.

        Raises: InputError for a motion file that cannot be read, was made with other geometry
            weights, or ends before the sound.
        """
        if options.motion is None:
            motion = self.sample_motion(
                audio, options, lambda done, total: tell(Progress("motion", done, total))
            )
            notes = {name: str(getattr(options, name)) for name in SAMPLING}
            return Recording(as_stored(motion), made_by="motion sample", notes=notes), ()
        recording = load_motion(options.motion)
        check_basis(recording, options.motion, basis_of(self.weights_dir))
        longer_s = recording.duration_s - audio.duration_s
        lasts = f"motion {options.motion} lasts {recording.duration_s:.2f} s"
        sounds = f"sound {audio.path.name} {audio.duration_s:.2f} s"
        if longer_s < -1 / MOTION_FPS:
            least_s = math.floor(100 * recording.duration_s) / 100
            raise InputError(f"{lasts} and {sounds}; give a longer one, or --preview {least_s:g}")
        cut_off = longer_s > 1 / MOTION_FPS and options.preview_s is None
        warnings = (f"{lasts} and {sounds}; its end is left out",) if cut_off else ()
        return resample(recording, options.fps), warnings

    def record(
        self, audio: Audio, options: RenderOptions, tell: ProgressCallback = lambda step: None
    ) -> Recording:
        """The motion of a speech with where it comes from, ready to be saved as a motion file."""
        recording, _ = self.find_motion(audio, replace(options, motion=None), tell)
        return replace(
            recording,
            basis=basis_of(self.weights_dir),
            source=audio.path.name,
            source_sha256=file_sha256(audio.path),
        )

    def sample_motion(
        self,
        audio: Audio,
        options: RenderOptions,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Motion:
        """The motion of a speech at 25 frames a second, by seed."""
        return sampling.sample_motion(self.models, audio, options, progress)

    def draw(
        self,
        portrait: Portrait,
        pieces: Iterable[Motion],
        placement: Placement,
        marks: Sequence[Label | Watermarker] = (),
    ) -> Iterator[np.ndarray]:
        """Finished frames (H, W, 3) uint8, one at a time, drawn and marked ahead in threads.

        Args: pieces of the motion, in order, each taken when its frames are next to be drawn.
        """
        models = self.models
        seen = self.look(portrait, placement)

        @lru_cache(maxsize=1)
        def zoom() -> Zoom:
            return Zoom.of(seen.points, pinned=placement.background is not None)

        @torch.inference_mode()
        def drawn(part: Motion) -> list[np.ndarray]:
            log_zoom = -part.head_pose[:, 5]
            points = perform(part, portrait.code, models.geometry)
            points = placement.window.to_crop(portrait.window.from_crop(points))
            zoomed = bool(beyond_free(torch.from_numpy(log_zoom)).any())
            with own_stream(models.device):
                squares = models.decoder.compose_each(
                    seen.expand(len(part)),
                    to_device(points, models.device),
                    zoom=zoom() if zoomed else None,
                    log_zoom=to_device(log_zoom, models.device),
                    in_a_row=True,
                )
                frames = (placement.finish(square) for square in each_picture(squares))
                return [marked(frame, marks) for frame in frames]

        batches = regrouped(pieces, BATCH)
        for frames in in_order(drawn, batches, n_threads=torch.get_num_threads()):
            yield from frames

    @torch.inference_mode()
    def look(self, portrait: Portrait, placement: Placement) -> Appearance:
        """What the decoder needs of a photo, at the size at which it draws."""
        square = cut_square(portrait.picture, placement.window, placement.side)
        points = torch.from_numpy(placement.window.to_crop(portrait.points)).float()[None]
        return self.models.decoder.look(
            to_tensor(square[None], self.models.device),
            points.to(self.models.device),
            edges=placement.window.edges(portrait.picture),
        )


def read_portrait(reader: FaceReader, photo: Path, options: RenderOptions) -> Portrait:
    """A photo's face, with warnings about what will not look its best."""
    picture = image.load_image(photo)
    face, warnings = choose_face(reader, picture, photo, options)
    points = reader.read_points(picture, face)
    window = reader.window(points)
    code = reader.fit(points, window)
    if face.height < TINY_FACE_PX:
        warnings += (
            f"the face in {photo.name} is only {face.height:.0f} pixels high;"
            " a larger picture will look sharper",
        )
    if max(abs(code.head_pose[:2])) > TURNED_DEG:
        yaw, pitch = code.head_pose[:2]
        warnings += (
            f"the face in {photo.name} is turned far (yaw {yaw:.0f}, pitch {pitch:.0f} degrees);"
            " a front-facing portrait works better",
        )
    return Portrait(picture, points, window, code, warnings)


def choose_face(
    reader: FaceReader, picture: np.ndarray, photo: Path, options: RenderOptions
) -> tuple[Detection, tuple[str, ...]]:
    """The face that was asked for, else the largest; and what to warn about.

    Raises: UsageError for a box outside the picture or a face number too high, InputError when no
        face is found.
    """
    height, width = picture.shape[:2]
    if options.face_box is not None:
        left, top, right, bottom = options.face_box
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise UsageError(
                f"the face box {left:g},{top:g},{right:g},{bottom:g} is not inside"
                f" {photo.name} ({width}x{height})"
            )
        return Detection((left + right) / 2, (top + bottom) / 2, bottom - top, 1.0), ()
    faces = reader.detect(picture)
    if not faces:
        raise InputError(
            f"no face found in {photo} ({width}x{height});"
            " use a front-facing portrait or give --face-box"
        )
    if options.face is not None:
        if options.face > len(faces):
            raise UsageError(
                f"there is no face {options.face} in {photo}: {len(faces)} found,"
                f" counted from the left; give --face 1 to {len(faces)}"
            )
        return faces[options.face - 1], ()
    largest = max(range(len(faces)), key=lambda k: faces[k].height)
    if len(faces) == 1:
        return faces[0], ()
    return faces[largest], (
        f"{len(faces)} faces found in {photo.name}; took the largest, number {largest + 1}"
        " from the left (--face N takes another)",
    )


def frame_marks(placement: Placement, options: RenderOptions) -> list[Label | Watermarker]:
    """What is put into every frame: the visible label, then the watermark."""
    size = {"height": placement.height, "width": placement.width}
    marks: list[Label | Watermarker] = []
    if options.label is not None:
        marks.append(Label(options.label, **size))
    if options.watermark:
        marks.append(Watermarker(**size))
    return marks


def marked(frame: np.ndarray, marks: Sequence[Label | Watermarker]) -> np.ndarray:
    """A frame (H, W, 3) uint8 with all its marks."""
    for mark in marks:
        frame = mark.apply(frame)
    return frame


def sound_warnings(audio: Audio) -> tuple[str, ...]:
    """What is worth saying about a sound that was read."""
    found: tuple[str, ...] = ()
    if audio.is_silent:
        found += (f"{audio.path.name} is silent; the mouth will rest",)
    if audio.fault:
        found += (f"{audio.path.name} could be read only in part: {audio.fault}",)
    return found
