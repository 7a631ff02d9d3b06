"""What happens to videos on their way: ffmpeg does it, so that marks can be sought afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vasa_cli.audio import FFmpeg, input_arguments
from vasa_cli.errors import ResourceError

_CRF, _AGAIN = ("-crf", "23"), ("-crf", "28")
_CROP = "crop=iw*0.9:ih*0.9:iw*0.03:ih*0.06"
# The first frame, then one whenever so much time has passed; with fps=1 a short video has none.
_EACH = "select=isnan(prev_selected_t)+gte(t-prev_selected_t\\,{:.3f})"
_1_FPS, _5_FPS = _EACH.format(0.999), _EACH.format(0.199)


@dataclass(frozen=True)
class Attack:
    """Something done to a video: ffmpeg's arguments for each time it is written anew."""

    name: str
    steps: tuple[tuple[str, ...], ...]
    asked: bool = True  # to be survived


ATTACKS = (
    Attack("nothing done", ()),
    Attack("copied (-c copy)", (("-c", "copy"),)),
    Attack("copied without metadata", (("-c", "copy", "-map_metadata", "-1"),)),
    Attack("H.264 at crf 28", (_AGAIN,)),
    Attack("H.264 at crf 28, twice", (_AGAIN, _AGAIN)),
    Attack("360 pixels high", (("-vf", "scale=-2:360", *_CRF),)),
    Attack("10 % of both sides cropped", (("-vf", _CROP, *_CRF),)),
    Attack("10 % cropped at one edge", (("-vf", "crop=iw*0.9:ih:0:0", *_CRF),)),
    Attack("1 frame a second", (("-vf", _1_FPS, *_CRF),)),
    Attack("cropped, 360p, crf 28", (("-vf", f"{_CROP},scale=-2:360", *_AGAIN),)),
    Attack("360p, 1 fps, crf 28", (("-vf", f"{_1_FPS},scale=-2:360", *_AGAIN),)),
    Attack(
        "cropped, 360p, crf 28, then 5 fps, crf 28",
        (("-vf", f"{_CROP},scale=-2:360", *_AGAIN), ("-vf", _5_FPS, *_AGAIN)),
    ),
    Attack("brighter, less contrast", (("-vf", "eq=brightness=0.1:contrast=0.8", *_CRF),), False),
    Attack("H.264 at crf 35", (("-crf", "35"),), False),
    Attack("turned by 2 degrees", (("-vf", "rotate=2*PI/180", *_CRF),), False),
    Attack("mirrored", (("-vf", "hflip", *_CRF),), False),
)


def write_anew(source: Path, target: Path, step: tuple[str, ...]) -> None:
    """Writes a video with ffmpeg, as one step of an attack says.

    Raises:
        ResourceError: ffmpeg could not.
    """
    codec = () if "copy" in step else ("-c:v", "libx264", "-preset", "medium")
    plain = ("-threads", "1", "-filter_threads", "1", "-fps_mode", "vfr")
    arguments = ["-v", "error", "-y", *input_arguments(source), *codec, *plain, *step]
    with FFmpeg([*arguments, f"file:{target}"]) as ffmpeg:
        if ffmpeg.wait() != 0:
            raise ResourceError(
                f"ffmpeg could not write {target.name} anew ({ffmpeg.reason}); run again"
            )
