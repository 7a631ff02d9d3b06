"""Videos in and out through the bundled ffmpeg, frame by frame; an MP4 appears only when whole."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import shlex
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Callable, Iterator, Mapping, Sequence

import numpy as np

from vasa_cli.audio import FFmpeg, check_input, input_arguments, read_header, streams
from vasa_cli.errors import InputError, ResourceError, UsageError

# What the MP4 muxer stores; it drops every other key without a word.
METADATA_KEYS = frozenset(
    "title artist album_artist composer album date comment genre copyright description synopsis"
    " lyrics grouping show network episode_id keywords".split()
)
# An example of each kind of output, and what it is called.
OUTPUTS = {
    ".mp4": ("video.mp4", "MP4"),
    ".safetensors": ("motion.safetensors", "motion as safetensors"),
    ".csv": ("motion.csv", "blend shapes as CSV"),
    ".png": ("motion.png", "plots as PNG"),
}
AUDIO_BITRATE = "160k"
EXACT_COLOURS = "bicubic+accurate_rnd+full_chroma_int"  # flags of ffmpeg's conversion
# The cap of 48 kHz and two channels, in words that leave all rates below as they are.
_AUDIO_FORMAT = (
    "aformat=sample_rates=48000|44100|32000|24000|22050|16000|12000|11025|8000"
    ":channel_layouts=mono|stereo"
)


def default_output(speech: Path) -> Path:
    """The video beside its sound, under another name than a sound that is itself an MP4."""
    if speech.suffix.lower() == ".mp4":
        return speech.with_name(f"{speech.stem}-vasa.mp4")
    return speech.with_suffix(".mp4")


def check_output(
    path: Path, *, force: bool, inputs: tuple[Path, ...] = (), suffix: str = ".mp4"
) -> None:
    """Refuse, before any work is done, an output that could not be written at its end.

    Raises:
        UsageError: a folder, without the suffix, in a missing or read-only folder, one of the
            inputs, or there already without `force`.
    """
    try:
        if path.exists() and any(i.exists() and path.samefile(i) for i in inputs):
            raise UsageError(f"output {path} is also an input; name another file with -o")
        _check_output(path, force, suffix)
        _partial_path(path).exists()  # raises where the system cannot hold so long a name
    except OSError as error:
        raise UsageError(f"output {path} cannot be used: {error.strerror}; name another") from error


@dataclass(frozen=True)
class VideoInfo:
    """What a video says of itself."""

    path: Path
    container: str  # ffmpeg's names for it, as "mov,mp4,m4a,3gp,3g2,mj2"
    codec: str  # as "h264"
    pixel_format: str  # as "yuv420p(tv, bt709, progressive)"
    width: int  # of the upright picture, as read_video gives it
    height: int
    fps: Fraction  # 0 where the file does not say
    duration_s: float  # 0.0 where the file does not say
    n_frames: int | None  # None unless they were counted
    audio_codec: str | None  # None without sound
    audio_sample_rate: int | None  # Hz

    @property
    def has_audio(self) -> bool:
        return self.audio_codec is not None


def probe(path: Path, *, count_frames: bool = False) -> VideoInfo:
    """Size, frame rate, length and streams of a video.

    Args:
        count_frames: read the file through, without decoding, to fill `n_frames`.

    Raises:
        InputError: the file cannot be opened, or has no video in it.
    """
    check_input(path, kind="video")
    header = read_header(path)
    video = next(iter(streams(header, "Video")), "")
    size = re.search(r", (\d+)x(\d+)\b", video)
    if size is None:
        raise InputError(f"{path} is not a video that ffmpeg can read; give an MP4, MOV or WebM")
    width, height = int(size[1]), int(size[2])
    if _is_sideways(header):
        width, height = height, width
    formats = re.split(r", (?![^(]*\))", video)
    audio = next(iter(streams(header, "Audio")), None)
    rate = re.search(r", (\d+) Hz", audio or "")
    container = re.search(r"^Input #0, (.+), from ", header, re.MULTILINE)
    return VideoInfo(
        path=path,
        container=container[1] if container else "",
        codec=video.split()[0].rstrip(","),
        pixel_format=formats[1],
        width=width,
        height=height,
        fps=_stated_fps(video),
        duration_s=stated_duration_s(header),
        n_frames=_count_frames(path) if count_frames else None,
        audio_codec=audio.split()[0].rstrip(",") if audio else None,
        audio_sample_rate=int(rate[1]) if rate else None,
    )


def read_video(path: Path, *, step: int = 1) -> Iterator[np.ndarray]:
    """Every frame of a video once, upright, in order: (H, W, 3) uint8 RGB.

    Args:
        step: give only the first of each so many frames.

    Raises:
        InputError: the file cannot be opened, has no video in it, or breaks off.
    """
    check_input(path, kind="video")
    return _decode(path, step)


def decoded_sha256(path: Path) -> str:
    """The SHA-256, in hex, of the RGB bytes of all decoded frames in order."""
    digest = hashlib.sha256()
    for frame in read_video(path):
        digest.update(frame.data)
    return digest.hexdigest()


class VideoWriter:
    """Writes frames and a sound as H.264 and AAC; the file bears its name only when it is whole.

    Use it in a with-block. An exception in the block, Ctrl-C too, leaves nothing behind.

    Args:
        output: the MP4 to write or replace; see `check_output`.
        width: pixels, even.
        height: pixels, even.
        fps: frames a second, exact.
        audio: file whose first sound track is put in from its first sample on; None for no sound.
        duration_s: seconds of that sound to take.
        crf: x264 quality, 0 lossless to 51 worst.
        preset: x264 speed.
        metadata: texts to store, by the names in METADATA_KEYS.
        threads: of ffmpeg; None leaves the number to it.
        finish: called with the whole file under its temporary name, just before it is renamed; what
            it raises leaves nothing behind.

    Raises:
        ValueError: a size, rate, duration, metadata key or frame that the format cannot hold.
        ResourceError: ffmpeg is missing, dies or cannot write, as with a full disk.
    """

    def __init__(
        self,
        output: Path,
        *,
        width: int,
        height: int,
        fps: Fraction,
        audio: Path | None,
        duration_s: float,
        crf: int,
        preset: str = "veryfast",
        metadata: Mapping[str, str] | None = None,
        threads: int | None = None,
        finish: Callable[[Path], None] | None = None,
    ) -> None:
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise ValueError(f"H.264 needs even sizes, not {width}x{height}")
        if fps <= 0 or not (math.isfinite(duration_s) and duration_s > 0):
            raise ValueError(f"fps {fps} and duration {duration_s} s must be above 0")
        if unknown := sorted(set(metadata or {}) - METADATA_KEYS):
            raise ValueError(f"MP4 does not store {', '.join(unknown)}")
        self.output = output
        self.n_frames = 0
        self._shape = (height, width, 3)
        self._partial = _partial_path(output)
        self._last_step = finish
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}"]
        # What load_audio could use of a damaged sound, the writer uses too.
        self._arguments = ["-v", "error", "-y", "-max_error_rate", "1", *source]
        self._arguments += ["-framerate", str(fps), "-i", "pipe:0"]
        if audio is not None:
            self._arguments += input_arguments(audio)
        self._arguments += _video_arguments(crf, preset)
        if audio is not None:
            self._arguments += _audio_arguments(duration_s)
        if threads is not None:
            self._arguments += ["-threads", str(threads), "-filter_threads", str(threads)]
        # A video handed as speech may carry its owner's name and place: take nothing of that.
        self._arguments += ["-map_metadata", "-1", "-map_chapters", "-1"]
        for key, value in (metadata or {}).items():
            self._arguments += ["-metadata", f"{key}={value}"]
        # Bit-exact: no dates or versions, so on one machine equal frames give an equal file.
        self._arguments += ["-fflags", "+bitexact", "-movflags", "+faststart"]
        self._arguments += [f"file:{self._partial}"]

    def __enter__(self) -> VideoWriter:
        self._ffmpeg = FFmpeg(self._arguments, feeds_stdin=True)
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one (H, W, 3) uint8 RGB frame."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"frame is {frame.shape} {frame.dtype}, not {self._shape} uint8")
        try:
            self._ffmpeg.stdin.write(np.ascontiguousarray(frame).data)
        except OSError:  # a broken pipe, by whatever number the system gives it
            raise self._failure() from None
        self.n_frames += 1

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error_type is None:
                self._finish()
        finally:
            self._ffmpeg.kill()
            self._partial.unlink(missing_ok=True)

    def _finish(self) -> None:
        if self.n_frames == 0:
            raise ValueError(f"no frame was written to {self.output}")
        with contextlib.suppress(OSError):  # its exit status says the same
            self._ffmpeg.stdin.close()
        if self._ffmpeg.wait() != 0 or not self._partial.is_file():
            raise self._failure()
        if self._last_step is not None:
            self._last_step(self._partial)
        try:
            os.replace(self._partial, self.output)
        except OSError as error:
            raise ResourceError(f"cannot put {self.output} in place: {error.strerror}") from error

    def _failure(self) -> ResourceError:
        """What to raise after ffmpeg closed its end or failed."""
        status = self._ffmpeg.wait(timeout_s=10)
        folder = self.output.parent
        if re.search("No space left on device|Disk quota exceeded", self._ffmpeg.messages):
            return ResourceError(
                f"disk full: no space left in {folder} for {self.output.name};"
                " free some and run again"
            )
        words = self._ffmpeg.reason or f"exit status {status}"
        return ResourceError(
            f"ffmpeg failed after {self.n_frames} frames of {self.output}:"
            f" {f'ended by signal {-status}' if status < 0 else words}; run again"
        )


def _check_output(path: Path, force: bool, suffix: str) -> None:
    example, written = OUTPUTS[suffix]
    if path.is_dir():
        raise UsageError(f"output {path} is a folder; name a file in it, as {path / example}")
    if path.suffix.lower() != suffix:
        seen = f"ends in {path.suffix}" if path.suffix else "has no ending"
        raise UsageError(
            f"output {path} {seen}, and vasa writes {written}; name it {path.with_suffix(suffix)}"
        )
    folder = path.parent
    if not folder.exists():
        raise UsageError(
            f"output folder {folder} does not exist; make it: mkdir -p {shlex.quote(str(folder))}"
        )
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file, so {path} cannot be in it; name another folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"output folder {folder} is read-only; name a folder you can write to")
    if path.exists() and not force:
        raise UsageError(f"output {path} exists; give --force to replace it, or another name")


def _partial_path(output: Path) -> Path:
    """Where a video grows: beside the output, so that the last step renames in one file system."""
    return output.with_name(f".{output.stem}.{os.getpid()}.part.mp4")


def _video_arguments(crf: int, preset: str) -> list[str]:
    """Encoding of the piped frames; passthrough, so that none is dropped or doubled."""
    # ffmpeg would convert with the BT.601 matrix, and players take HD for BT.709: say it all.
    convert = (
        f"scale=out_color_matrix=bt709:out_range=tv:flags={EXACT_COLOURS},"
        "format=yuv420p,setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
    )
    return [
        *["-map", "0:v:0", "-vf", convert, "-fps_mode:v", "passthrough"],
        *["-c:v", "libx264", "-preset", preset, "-crf", str(crf), "-flags:v", "+bitexact"],
    ]


def _audio_arguments(duration_s: float) -> list[str]:
    """Encoding of the original sound.

    Samples are renumbered from 0, as load_audio counts them: a track that starts late in its file,
    or has gaps, would otherwise move against the lips.
    """
    cut = f"asetpts=N/SR/TB,atrim=duration={duration_s:.6f},{_AUDIO_FORMAT}"
    return [
        *["-map", "1:a:0", "-af", cut],
        *["-c:a", "aac", "-b:a", AUDIO_BITRATE, "-flags:a", "+bitexact"],
    ]


def _decode(path: Path, step: int) -> Iterator[np.ndarray]:
    arguments = ["-v", "error", *input_arguments(path), "-map", "0:v:0", "-fps_mode", "passthrough"]
    arguments += ppm_arguments([f"select=not(mod(n\\,{step}))"] if step > 1 else [])
    n_frames = 0
    with FFmpeg(arguments) as ffmpeg:
        while (frame := read_ppm(ffmpeg.stdout)) is not None:
            n_frames += 1
            yield frame
        failed = ffmpeg.wait() != 0
        reason = ffmpeg.reason
    if n_frames == 0:
        raise InputError(
            f"{path} is not a video that ffmpeg can read ({reason or 'no frame in it'});"
            " give an MP4, MOV or WebM"
        )
    if failed:
        raise InputError(
            f"video {path} breaks off after {n_frames} frames ({reason}); copy it anew"
        )


def ppm_arguments(filters: Sequence[str], *, quickly: bool = False) -> list[str]:
    """Of ffmpeg, to write frames as `read_ppm` reads them, so filtered.

    Colours are rounded exactly, or quickly and a level or two off.
    """
    if not quickly:  # planes first: the same bits as at once, in 2.3 for 5.4 ms of 1280x720
        filters = [*filters, "format=gbrp"]
    arguments = ["-vf", ",".join(filters)] if filters else []
    arguments += ["-sws_flags", "bicubic" if quickly else EXACT_COLOURS]
    return [*arguments, "-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "pipe:1"]


def read_ppm(pipe: IO[bytes]) -> np.ndarray | None:
    """The next picture of a stream of binary PPM, (H, W, 3) uint8; None at its end.

    PPM tells each frame's size, which a header read beforehand gets wrong for a turned video.
    """
    if pipe.readline() != b"P6\n":
        return None
    width, height = (int(number) for number in pipe.readline().split())
    pipe.readline()  # the largest value, 255
    frame = np.empty((height, width, 3), np.uint8)  # (H, W, 3)
    n_read = pipe.readinto(frame.reshape(-1).data)  # type: ignore[attr-defined]
    return frame if n_read == frame.nbytes else None


def _count_frames(path: Path) -> int:
    """Video packets in a file, counted without decoding."""
    arguments = ["-v", "error", *input_arguments(path), "-map", "0:v:0", "-c", "copy"]
    with FFmpeg([*arguments, "-progress", "pipe:1", "-f", "null", "-"]) as ffmpeg:
        report = ffmpeg.stdout.read().decode()
    return int(re.findall(r"^frame=\s*(\d+)", report, re.MULTILINE)[-1])


def _is_sideways(header: str) -> bool:
    turn = re.search(r"display ?matrix: rotation of (-?[\d.]+) degrees", header, re.IGNORECASE)
    return turn is not None and round(float(turn[1])) % 180 == 90


def _stated_fps(video: str) -> Fraction:
    """The frame rate of a stream's description, which ffmpeg prints with two decimals."""
    stated = re.search(r", (\d+(?:\.\d+)?) fps", video)
    if stated is None:
        return Fraction(0)
    broadcast = Fraction(1000 * math.ceil(float(stated[1])), 1001)  # 29.97 is 30000/1001
    return broadcast if f"{float(broadcast):.2f}" == stated[1] else Fraction(stated[1])


def stated_duration_s(header: str) -> float:
    """The length that `read_header` states of a sound or video; 0.0 where it does not."""
    stated = re.search(r"Duration: (\d+):(\d+):(\d+\.\d+)", header)
    if stated is None:
        return 0.0
    return 3600 * int(stated[1]) + 60 * int(stated[2]) + float(stated[3])
