"""What is left of vasa's marks after what happens to videos, and how often they are seen wrongly.

Unmarked videos are marked and written as a render does it, attacked by ffmpeg, and read as `vasa
verify` reads them. The same videos, unmarked, are searched for vasa's pattern and for patterns that
nobody used: each key is drawn anew, so that every search is a trial of its own.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from vasa_cli import certificates, provenance, verification
from vasa_cli.attacks import ATTACKS, Attack, write_anew
from vasa_cli.compare import psnr_db
from vasa_cli.config import RenderOptions
from vasa_cli.provenance import SOURCE_TYPE, Stamp
from vasa_cli.threads import in_order
from vasa_cli.verification import NONE, Credentials
from vasa_cli.video import VideoWriter, probe, read_video
from vasa_cli.watermark import KEY, Detection, Watermarker, detect_each

Tell = Callable[[str], None]

CONFIDENCE = 0.95
TIMED_FRAMES = 40


@dataclass(frozen=True)
class Survival:
    """What an attack has left of the marks of so many videos."""

    attack: Attack
    n_videos: int
    n_comments: int  # that still say AI-generated
    n_packets: int  # XMP packets with the digital source type
    credentials: dict[str, int]  # how many of each state; {} where none could be signed
    n_found: int  # watermarks
    lowest_z: float

    @property
    def rate(self) -> float:
        return self.n_found / self.n_videos


@dataclass(frozen=True)
class FalseAlarms:
    """Searches of unmarked videos by one kind of key."""

    n_videos: int
    n_frames: int  # looked at, each once
    n_searches: int  # a video and a key each
    n_found: int
    highest_z: float


@dataclass(frozen=True)
class Figures:
    """All that was measured."""

    size: int  # pixels a side of the marked videos
    n_marked_frames: int
    survivals: tuple[Survival, ...]
    worst_psnr_db: float  # of a marked frame to the unmarked, before encoding
    mean_psnr_db: float
    frame_ms: float  # of one core, to mark a frame
    own: FalseAlarms  # for vasa's pattern
    foreign: FalseAlarms  # for patterns that nobody used

    @property
    def rate_bound(self) -> float:
        """What the rate of false alarms is at most, with a confidence of CONFIDENCE."""
        own, foreign = self.own, self.foreign
        return rate_bound(own.n_found + foreign.n_found, own.n_searches + foreign.n_searches)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        alarms = {"own_key": self.own, "foreign_keys": self.foreign}
        return {
            "size": self.size,
            "marked_videos": self.survivals[0].n_videos,
            "marked_frames": self.n_marked_frames,
            "attacks": [
                {
                    "name": one.attack.name,
                    "asked": one.attack.asked,
                    "videos": one.n_videos,
                    "comments": one.n_comments,
                    "xmp_packets": one.n_packets,
                    "credentials": one.credentials,
                    "watermarks": one.n_found,
                    "lowest_z": round(one.lowest_z, 2),
                }
                for one in self.survivals
            ],
            "worst_psnr_db": round(self.worst_psnr_db, 2),
            "mean_psnr_db": round(self.mean_psnr_db, 2),
            "frame_ms": round(self.frame_ms, 3),
            **{
                name: {
                    "videos": one.n_videos,
                    "frames": one.n_frames,
                    "searches": one.n_searches,
                    "found": one.n_found,
                    "highest_z": round(one.highest_z, 2),
                }
                for name, one in alarms.items()
            },
            "false_alarms_at_most": self.rate_bound,
        }


def evaluate(
    videos: Sequence[Path],
    *,
    n_marked: int,
    n_keys: int,
    seconds: float,
    size: int,
    weights_dir: Path,
    n_threads: int,
    tell: Tell = lambda line: None,
) -> Figures:
    """All figures, from videos that bear no mark.

    Args:
        n_marked: at most so many of them are marked and attacked, spread evenly.
        n_keys: patterns that nobody used, for which each is searched beside vasa's own.
        seconds: of each video that are marked.
        size: pixels a side of the marked videos: their middle squares, resized.
        weights_dir: whose checksums are signed.
        n_threads: videos in hand at once.

    Raises:
        InputError: a video cannot be read.
        ResourceError: ffmpeg gave out.
    """
    frame_ms = marking_ms(next(_squares(videos[0], size, 1.0)))
    chosen = [videos[k] for k in np.unique(np.linspace(0, len(videos) - 1, n_marked).astype(int))]
    with tempfile.TemporaryDirectory(prefix="vasa-watermark-") as folder:
        options = _signed_options(Path(folder) / "keys")

        def mark_and_attack(number: int) -> tuple[list[float], list[_Seen]]:
            inside = Path(folder) / str(number)
            inside.mkdir()
            marked = inside / "marked.mp4"
            psnr = _write_marked(chosen[number], marked, options, seconds, size, weights_dir)
            return psnr, [_read(attack, marked) for attack in ATTACKS]

        psnr: list[float] = []
        seen: list[list[_Seen]] = []
        for found in in_order(mark_and_attack, range(len(chosen)), n_threads=n_threads):
            psnr += found[0]
            seen.append(found[1])
            tell(f"marked and attacked {len(seen)} of {len(chosen)} videos")
    own, foreign = count_false_alarms(videos, n_keys=n_keys, n_threads=n_threads, tell=tell)
    return Figures(
        size=size,
        n_marked_frames=len(psnr),
        survivals=tuple(_survival(attack, list(of)) for attack, of in zip(ATTACKS, zip(*seen))),
        worst_psnr_db=min(psnr),
        mean_psnr_db=float(np.mean(psnr)),
        frame_ms=frame_ms,
        own=own,
        foreign=foreign,
    )


def count_false_alarms(
    videos: Sequence[Path], *, n_keys: int, n_threads: int, tell: Tell = lambda line: None
) -> tuple[FalseAlarms, FalseAlarms]:
    """Searches of unmarked videos for vasa's own pattern, and for so many others in each.

    No two searches are for the same foreign key. For a key that is independent of the video the
    phases are independent, so that searches of one video for several keys are independent trials.
    """

    def search(number: int) -> list[Detection]:
        keys = [KEY, *range(1 + number * n_keys, 1 + (number + 1) * n_keys)]
        return detect_each(verification.spread_frames(videos[number]), keys)

    own, foreign = [], []
    for found in in_order(search, range(len(videos)), n_threads=n_threads):
        own.append(found[0])
        foreign += found[1:]
        if len(own) % 20 == 0:
            tell(f"searched {len(own)} of {len(videos)} unmarked videos")
    n_frames = sum(one.n_frames for one in own)
    return _alarms(own, len(videos), n_frames), _alarms(foreign, len(videos), n_frames)


def rate_bound(n_found: int, n_trials: int, *, confidence: float = CONFIDENCE) -> float:
    """The rate at which so few of so many trials would be found with a chance of 1 - confidence.

    Source: the upper end of Clopper and Pearson's interval, 1934, one-sided.
    """
    if n_found >= n_trials:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        if _chance_of_at_most(n_found, n_trials, rate) > 1 - confidence:
            low = rate
        else:
            high = rate
    return high


def marking_ms(frame: np.ndarray) -> float:
    """Median processor time to mark a frame (H, W, 3) uint8, in ms; nothing else may run here."""
    marker = Watermarker(*frame.shape[:2])
    taken = []
    for _ in range(TIMED_FRAMES):
        begun_s = time.process_time()
        marker.apply(frame)
        taken.append(time.process_time() - begun_s)
    return 1000 * float(np.median(taken[TIMED_FRAMES // 4 :]))


@dataclass(frozen=True)
class _Seen:
    """The marks that were read in one video."""

    comment: bool
    packet: bool
    credentials: str | None
    watermark: Detection


def _signed_options(folder: Path) -> RenderOptions:
    """Options that sign with a key of their own, or only mark where signing is not installed."""
    if not provenance.can_sign():
        return RenderOptions()
    certificates.init_keys(folder, name="vasa evaluate")
    return RenderOptions(
        certificate=folder / certificates.CHAIN_NAME, private_key=folder / certificates.KEY_NAME
    )


def _squares(path: Path, size: int, seconds: float) -> Iterator[np.ndarray]:
    """The first frames of a video, (size, size, 3) uint8: their middle squares."""
    fps = probe(path).fps or Fraction(25)
    for frame in islice(read_video(path), max(1, round(seconds * fps))):
        height, width = frame.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = Image.fromarray(frame[top : top + side, left : left + side])
        yield np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))


def _write_marked(
    source: Path,
    output: Path,
    options: RenderOptions,
    seconds: float,
    size: int,
    weights_dir: Path,
) -> list[float]:
    """Writes a video with all marks, as a render does; the PSNR of each frame to the unmarked."""
    stamp = Stamp(options, output=output, photo=source, weights_dir=weights_dir)
    marker = Watermarker(size, size)
    psnr = []
    with VideoWriter(
        output,
        width=size,
        height=size,
        fps=probe(source).fps or options.fps,
        audio=None,
        duration_s=seconds,
        crf=options.crf,
        metadata=stamp.metadata,
        threads=1,
        finish=stamp.finish,
    ) as writer:
        for frame in _squares(source, size, seconds):
            marked = marker.apply(frame)
            psnr.append(psnr_db(marked, frame))
            writer.write(marked)
    return psnr


def _read(attack: Attack, marked: Path) -> _Seen:
    """What `vasa verify` finds in a marked video after an attack."""
    path = marked
    for number, step in enumerate(attack.steps):
        path, source = marked.with_name(f"{number}.mp4"), path
        write_anew(source, path, step)
    tags = verification.read_tags(path)
    credentials = verification.read_credentials(path) if provenance.can_sign() else None
    (watermark,) = detect_each(verification.spread_frames(path), [KEY])
    return _Seen(
        comment="AI-generated" in tags.comment,
        packet=tags.source_type == SOURCE_TYPE,
        credentials=_state(credentials),
        watermark=watermark,
    )


def _state(credentials: Credentials | None) -> str | None:
    """Credentials in a word: valid, whoever signed, invalid or lost; None where unread."""
    if credentials is None:
        return None
    if credentials.state in (verification.TRUSTED, verification.UNKNOWN_SIGNER):
        return "valid"
    return "lost" if credentials.state == NONE else credentials.state


def _survival(attack: Attack, seen: Sequence[_Seen]) -> Survival:
    return Survival(
        attack=attack,
        n_videos=len(seen),
        n_comments=sum(one.comment for one in seen),
        n_packets=sum(one.packet for one in seen),
        credentials=dict(Counter(one.credentials for one in seen if one.credentials)),
        n_found=sum(one.watermark.found for one in seen),
        lowest_z=min(one.watermark.z for one in seen),
    )


def _alarms(found: Sequence[Detection], n_videos: int, n_frames: int) -> FalseAlarms:
    return FalseAlarms(
        n_videos=n_videos,
        n_frames=n_frames,
        n_searches=len(found),
        n_found=sum(one.found for one in found),
        highest_z=max((one.z for one in found), default=0.0),
    )


def _chance_of_at_most(n_found: int, n_trials: int, rate: float) -> float:
    """That so many trials or fewer are found, of n_trials at a rate between 0 and 1."""
    log_rate, log_rest = math.log(rate), math.log1p(-rate)
    return sum(
        math.exp(_log_ways(n_trials, k) + k * log_rate + (n_trials - k) * log_rest)
        for k in range(n_found + 1)
    )


def _log_ways(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
