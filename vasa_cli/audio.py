"""Speech in: any sound ffmpeg reads becomes 16 kHz mono, whole in memory.

The ffmpeg process itself is here too; image.py and video.py run it by the same class.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Sequence

import imageio_ffmpeg
import numpy as np

from vasa_cli.config import MAX_SPEECH_S, MIN_SPEECH_S, SAMPLE_RATE
from vasa_cli.errors import InputError, ResourceError, UsageError

SILENCE_PEAK = 10 ** (-60 / 20)  # -60 dBFS, of full scale 1.0
_CHUNK_BYTES = 1 << 20
_FULL_SCALE = 32768
# ffmpeg "plays" text files as ANSI art.
_TEXT_CODECS = ("ansi", "bintext", "xbin", "idf")
_STREAM_LINE = re.compile(
    r"^ +Stream (?:group )?#\d+:\d+\S*: (Video|Audio|Tile Grid): (.*)$", re.MULTILINE
)
_MAX_MESSAGES = 1000


@dataclass(frozen=True, eq=False)
class Audio:
    """One channel of sound; int16 keeps an hour in 115 MB."""

    path: Path
    samples: np.ndarray  # (N,) int16
    sample_rate: int = SAMPLE_RATE
    fault: str | None = None  # one line for the user, when only a part could be read

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate

    @property
    def is_silent(self) -> bool:
        """No sample reaches -60 dBFS."""
        peak = max(int(self.samples.max()), -int(self.samples.min()))  # abs(-32768) overflows
        return peak < SILENCE_PEAK * _FULL_SCALE

    def as_float(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Samples start to stop, cut where the sound ends: (n,) float32 in -1..1."""
        return self.samples[start:stop].astype(np.float32) / _FULL_SCALE


def load_audio(path: Path, *, max_seconds: float | None = None) -> Audio:
    """The first sound track of a file, a video too, mixed to one channel at 16 kHz.

    Args:
        max_seconds: read no more than that; at least MIN_SPEECH_S.

    Raises:
        InputError: missing, a folder, empty, without a sound track, not a sound, of zero length,
            shorter than MIN_SPEECH_S, or longer than MAX_SPEECH_S and not cut.
        UsageError: `max_seconds` below MIN_SPEECH_S.
    """
    if max_seconds is not None and max_seconds < MIN_SPEECH_S:
        raise UsageError(f"{max_seconds:g} s of sound are too few; take {MIN_SPEECH_S:g} s or more")
    check_input(path, kind="sound")
    n_allowed = round(MAX_SPEECH_S * SAMPLE_RATE)
    n_wanted = n_allowed + 1  # one too many tells a sound that is too long
    if max_seconds is not None:
        n_wanted = min(n_wanted, round(max_seconds * SAMPLE_RATE))
    samples, reason = _decode(path, n_wanted)
    if len(samples) == 0:
        raise _no_samples(path, reason)
    if len(samples) > n_allowed:
        raise InputError(
            f"sound {path} is longer than {MAX_SPEECH_S:g} s; cut it, or render a preview"
        )
    duration_s = len(samples) / SAMPLE_RATE
    if duration_s < MIN_SPEECH_S:
        raise InputError(
            f"sound {path} lasts {duration_s:.2f} s; at least {MIN_SPEECH_S:g} s are needed"
        )
    fault = f"sound {path} is damaged ({reason}); read {duration_s:.2f} s" if reason else None
    return Audio(path=path, samples=samples, fault=fault)


def frame_count(n_samples: int, sample_rate: int, fps: Fraction) -> int:
    """Video frames that last as long as the sound, to the nearest frame; at least 1."""
    return max(1, round(n_samples * fps / sample_rate))


def check_input(path: Path, *, kind: str) -> None:
    """Refuse a path that cannot be opened as a file with something in it.

    Args:
        kind: what the file is wanted as, for the message: "picture", "sound" or "video".

    Raises:
        InputError: missing, a folder, a pipe or device, unreadable, or empty.
    """
    try:
        if not path.exists():
            raise InputError(f"{kind} {path} does not exist; check its name and folder")
        if path.is_dir():
            raise InputError(f"{path} is a folder; give a {kind} file in it")
        if not path.is_file():
            raise InputError(f"{path} is not a regular file; save the {kind} to disk first")
        if not os.access(path, os.R_OK):
            raise InputError(f"{kind} {path} may not be read; check its permissions")
        if path.stat().st_size == 0:
            raise InputError(f"{kind} {path} is empty (0 bytes); copy or record it again")
    except OSError as error:  # a name that is too long, a dead network folder
        raise InputError(f"{kind} {path} cannot be opened: {error.strerror}") from error


def input_arguments(path: Path) -> list[str]:
    """Arguments that make ffmpeg open this file and nothing else.

    The file: prefix keeps names such as `a:b.wav` or `-x.wav` from being read as an address or an
    option; the whitelist keeps a playlist from reaching out to the network.
    """
    return ["-protocol_whitelist", "file", "-i", f"file:{path}"]


class FFmpeg:
    """One running ffmpeg whose messages are drained as it runs; leaving the with-block ends it.

    Args:
        arguments: all that follows the program's name.
        feeds_stdin: open `stdin` for writing; it is closed to ffmpeg otherwise.

    Raises:
        ResourceError: ffmpeg is missing or cannot be started.
    """

    def __init__(self, arguments: Sequence[str], *, feeds_stdin: bool = False) -> None:
        try:
            self._process = subprocess.Popen(
                [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", *arguments],
                stdin=subprocess.PIPE if feeds_stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C reaches vasa alone, which then ends ffmpeg
            )
        except (RuntimeError, OSError) as error:  # none found; one that does not run
            raise ResourceError(
                f"ffmpeg cannot be started ({error}); reinstall imageio-ffmpeg, or set"
                " IMAGEIO_FFMPEG_EXE to an ffmpeg program"
            ) from error
        self._messages: deque[str] = deque(maxlen=_MAX_MESSAGES)
        self._drain = threading.Thread(target=self._read_messages, daemon=True)
        self._drain.start()

    def __enter__(self) -> FFmpeg:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def messages(self) -> str:
        """All that ffmpeg has said on stderr; complete after `wait`."""
        return "\n".join(self._messages)

    @property
    def reason(self) -> str:
        """The first thing ffmpeg complained of, in one line; empty when it did not."""
        first = self._messages[0] if self._messages else ""
        return re.sub(r"^(\[[^]]* @ 0x[0-9a-f]+\] ?)+", "", first).strip().rstrip(".")

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the end; returns the exit status, negative for the signal that ended it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        if self._process.poll() is None:
            self._process.kill()
        status = self._process.wait()
        self._drain.join()
        return status

    def kill(self) -> None:
        """End ffmpeg if it still runs, and close its pipes."""
        if self._process.poll() is None:
            self._process.kill()
        self.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was still to be written has no reader
                    pipe.close()

    def _read_messages(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._messages.append(line.decode("utf-8", errors="replace").rstrip())


def read_header(path: Path) -> str:
    """What ffmpeg says of a file's container and streams; says little when it cannot read it."""
    with FFmpeg(input_arguments(path)) as ffmpeg:
        ffmpeg.wait()
        return ffmpeg.messages


def streams(header: str, kind: str) -> list[str]:
    """The descriptions of a header's "Video", "Audio" or "Tile Grid" streams, but for cover art."""
    found = [text for stream, text in _STREAM_LINE.findall(header) if stream == kind]
    return [text for text in found if not _is_no_stream(text)]


def _decode(path: Path, n_wanted: int) -> tuple[np.ndarray, str]:
    """At most `n_wanted` samples, (N,) int16, and what ffmpeg complained of, or ""."""
    # Of several tracks the first, as VideoWriter takes it; ffmpeg's own choice is the widest.
    arguments = ["-v", "error", "-max_error_rate", "1", *input_arguments(path)]
    arguments += ["-map", "0:a:0", "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "s16le", "pipe:1"]
    data = bytearray()
    with FFmpeg(arguments) as ffmpeg:
        while len(data) < 2 * n_wanted and (chunk := ffmpeg.stdout.read(_CHUNK_BYTES)):
            data += chunk
        if len(data) < 2 * n_wanted:
            ffmpeg.wait()
        ffmpeg.kill()
        reason = ffmpeg.reason
    n_samples = min(len(data) // 2, n_wanted)
    return np.frombuffer(data, "<i2", n_samples).astype(np.int16, copy=False), reason


def _no_samples(path: Path, reason: str) -> InputError:
    """Why nothing came out of a file."""
    header = read_header(path)
    if streams(header, "Audio") and reason:
        return InputError(f"sound {path} is damaged ({reason}); copy or export it again")
    if streams(header, "Audio"):
        return InputError(f"sound {path} is of zero length; record or export it again")
    if streams(header, "Video") or streams(header, "Tile Grid"):
        return InputError(f"{path} has no sound track; give a sound file, or a video with sound")
    return InputError(
        f"{path} is not a sound that can be read ({reason or 'nothing to decode'});"
        " give a WAV, MP3 or M4A"
    )


def _is_no_stream(text: str) -> bool:
    return text.startswith(_TEXT_CODECS) or "(attached pic)" in text
