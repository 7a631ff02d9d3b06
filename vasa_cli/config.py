"""Options, results and constants that every layer shares; importing it costs nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Callable

from vasa_cli.control_values import READERS, Emotion, Gaze, Pose
from vasa_cli.errors import UsageError
from vasa_cli.timeline import Timeline, load_timeline

SAMPLE_RATE = 16_000  # Hz, of all sound inside vasa
MOTION_FPS = 25  # frames a second of all motion inside vasa
N_LANDMARKS = 478  # MediaPipe's face mesh: 468 points and 10 iris points

FRAMES = ("face", "photo")
DEVICES = ("auto", "cpu", "cuda", "mps")
SIZE_RANGE = (128, 1024)  # pixels of the square output
FPS_RANGE = (1, 120)
CRF_RANGE = (0, 51)
MIN_SPEECH_S = 0.2
MAX_SPEECH_S = 3600.0
# What decides which motion is sampled; a motion file has decided all of it.
SAMPLING = ("seed", "num_steps", "guidance_audio", "guidance_gaze")
# How two things of different length are made to last as long as each other.
FITS = ("trim", "hold", "loop", "stretch")
# Parts of a motion, which together are all of it.
PARTS = ("head", "eyes", "lips", "expression")
PROVENANCE_MODES = ("off", "auto", "required")


@dataclass(frozen=True, kw_only=True)
class Controls:
    """What head, eyes and face do beyond what the speech makes them do; see `vasa_cli.controls`.

    Values may be given as they are typed after the options ("left", "happy:0.7"), and are kept as
    plain numbers. Angles are degrees as the viewer sees them: right, up and clockwise positive.
    """

    # yaw, pitch of the eyes in the camera's frame; (0, 0) looks into it, None as the speech has it
    gaze: Gaze | None = None
    gaze_wander: float = 1.0  # how far the eyes stray from where they aim; 0 holds them still
    distance: float = 1.0  # of the person: 1 as in the photo, less is nearer
    emotion: Emotion = ()  # names and strengths
    pose: Pose | None = None  # yaw, pitch, roll around which the head is held
    pose_offset: Pose = (0.0, 0.0, 0.0)  # added to the head's own
    head_motion: float = 1.0  # scale of the head's movement
    expression: float = 1.0  # scale of the face's movement, lips included; gaze and blinks not
    blink: float = 1.0  # blinks for each one that there would be
    still: bool = False  # head and eyes stay as in the photo, but for what is asked here
    timeline: Timeline | None = None  # keyframes of any of these; a path is read

    def __post_init__(self) -> None:
        """Turns what was typed into numbers, and refuses what is out of range.

        Raises:
            UsageError: naming the control and its range.
            InputError: the timeline's file cannot be used.
        """
        for name, read in READERS.items():
            given = getattr(self, name)
            if given is None and name in ("gaze", "pose"):
                continue
            try:
                object.__setattr__(self, name, read(given))
            except ValueError as error:
                raise UsageError(f"{name} {error}") from None
        if isinstance(self.timeline, (str, Path)):
            object.__setattr__(self, "timeline", load_timeline(Path(self.timeline)))

    @property
    def asked(self) -> bool:
        """Whether any control differs from its default."""
        return any(getattr(self, name) != default for name, default in vars(Controls()).items())


@dataclass(frozen=True, kw_only=True)
class RenderOptions(Controls):
    """How one video is rendered; every default of `vasa render` stands here and nowhere else."""

    size: int = 512  # pixels, of the square or of the whole photo's longer side
    fps: Fraction = Fraction(25)
    frame: str = "face"  # a square around the head; "photo": the whole photo, the head moving in it
    seed: int = 0
    crf: int = 18  # x264 quality: 0 lossless, 51 worst
    preview_s: float | None = None  # render only so many seconds
    # left, top, right, bottom in pixels of the upright photo
    face_box: tuple[float, float, float, float] | None = None
    face: int | None = None  # which of several faces, counted from 1 on the left
    num_steps: int = 10  # of the motion sampler
    guidance_audio: float = 1.0  # classifier-free guidance on the sound
    guidance_gaze: float = 1.0  # and on the gaze, where one is asked
    motion: Path | None = None  # a motion file to perform, instead of motion sampled from the sound
    force: bool = False  # replace an existing output
    watermark: bool = True  # invisible, in every frame
    # tags and signature: "auto" signs where it can, "required" signs or fails, "off" does neither
    provenance: str = "auto"
    label: str | None = None  # small visible text
    certificate: Path | None = None  # PEM chain to sign with; None takes what `vasa keys init` made
    private_key: Path | None = None  # PEM, of the certificate
    ingredient: bool = False  # name the photo and its checksum in the signed manifest

    def __post_init__(self) -> None:
        """Refuses what no render could do.

        Raises:
            UsageError: an option outside its range, or two that exclude each other.
            InputError: the timeline's file cannot be used.
        """
        super().__post_init__()
        for name, (low, high) in (("size", SIZE_RANGE), ("fps", FPS_RANGE), ("crf", CRF_RANGE)):
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} {getattr(self, name)} is not in {low} to {high}")
        for name, known in (("frame", FRAMES), ("provenance", PROVENANCE_MODES)):
            if getattr(self, name) not in known:
                raise UsageError(f"{name} {getattr(self, name)} is none of {', '.join(known)}")
        if self.num_steps < 1 or (self.face is not None and self.face < 1):
            raise UsageError("num_steps and face count from 1")
        if self.face is not None and self.face_box is not None:
            raise UsageError("give face or face_box, not both")
        idle = [name for name in SAMPLING if getattr(self, name) != getattr(RenderOptions, name)]
        if self.motion is not None and idle:
            raise UsageError(
                f"with a motion file {', '.join(idle)} would change nothing; give one or the other"
            )
        if (self.certificate is None) != (self.private_key is None):
            raise UsageError("--cert and --key belong together; give both")
        if self.provenance == "off" and (self.certificate is not None or self.ingredient):
            raise UsageError(
                "--cert, --key and --ingredient need a signature; take --provenance auto"
            )


@dataclass(frozen=True)
class Progress:
    """How far a render is, for a callback."""

    stage: str  # "photo", "speech", "motion", "film", "frames" or "encode"
    done: int
    total: int


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True)
class RenderResult:
    """What was written, and what is needed to write it again."""

    output: Path
    n_frames: int
    fps: Fraction
    width: int
    height: int
    duration_s: float  # of the video
    elapsed_s: float  # wall clock of the whole render
    seed: int | None  # of the motion; None where it came from a file that names none
    device: str
    # of the RGB frames before encoding: equal inputs, options, seed and machine type give it again
    frames_sha256: str
    warnings: tuple[str, ...] = field(default=())
    # which marks the video bears, in words: "signed by Acme", "tags and watermark only", ...
    provenance: str = "off"

    @property
    def render_fps(self) -> float:
        return self.n_frames / self.elapsed_s

    def as_json(self) -> dict[str, Any]:
        """Plain values: paths as text, fps as a number."""
        plain = asdict(self) | {
            "output": str(self.output),
            "fps": float(self.fps),
            "warnings": list(self.warnings),
        }
        return plain | {"render_fps": round(self.render_fps, 2)}


@dataclass(frozen=True, kw_only=True)
class CompareLimits:
    """What two videos may differ by; every default of `vasa compare` stands here."""

    min_psnr_db: float = 40.0  # of the worst frame, in RGB
    min_ssim: float = 0.98  # of the worst frame, in luma
    max_drift: float | None = None  # of landmarks, in face heights; None does not look at them
