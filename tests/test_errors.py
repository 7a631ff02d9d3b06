"""What goes wrong in `vasa render`: the words, the exit code, and that nothing is left behind.

The command and the whole line are the real ones; only the networks are hollow.
"""

from __future__ import annotations

import json
import os
import signal
import wave
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Iterable, Iterator

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image

from tests.conftest import run_vasa
from tests.test_video import ffmpeg, use_stub_ffmpeg
from vasa_cli import audio, pipeline, video
from vasa_cli.audio import Audio
from vasa_cli.config import RenderOptions
from vasa_cli.detection import Detection
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE, N_IDENTITY, FaceCode
from vasa_cli.motion import Motion
from vasa_cli.placement import Placement
from vasa_cli.squares import Window
from vasa_cli.video import probe

WIDTH, HEIGHT = 120, 160
FACE = Detection(60.0, 80.0, 100.0, 0.9)


@dataclass
class Scene:
    """What the networks see and do, and the ffmpeg that writes the video."""

    faces: list[Detection] = field(default_factory=lambda: [FACE])
    yaw: float = 0.0  # degrees
    pitch: float = 0.0  # degrees
    act: Callable[[int], None] = lambda n_frames: None  # before each frame
    writing: audio.FFmpeg | None = None

    def detect(self, picture: np.ndarray) -> list[Detection]:
        assert picture.shape == (HEIGHT, WIDTH, 3)
        return self.faces

    def read_points(self, picture: np.ndarray, face: Detection) -> np.ndarray:
        return np.zeros((478, 3))

    def window(self, points: np.ndarray) -> Window:
        return Window(60.0, 80.0, 50.0)

    def fit(self, points: np.ndarray, window: Window) -> FaceCode:
        pose = np.array([self.yaw, self.pitch, 0, 0, 0, 1.0])
        return FaceCode(np.zeros(N_IDENTITY), pose, np.zeros(N_DYNAMICS), points)

    def draw(
        self,
        renderer: pipeline.Renderer,
        portrait: Any,
        pieces: Iterable[Motion],
        placement: Placement,
        marks: list[Any],
    ) -> Iterator[np.ndarray]:
        for number in range(sum(map(len, pieces))):
            self.act(number)
            square = np.full((placement.side,) * 2 + (3,), number % 256, np.uint8)
            frame = placement.finish(square)
            for mark in marks:
                frame = mark.apply(frame)
            yield frame


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch, fake_weights_dir: Path, tmp_path: Path) -> Scene:
    """The line without its networks."""
    seen = Scene()

    class Writing(audio.FFmpeg):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            seen.writing = self

    def still(models: Any, sound: Audio, options: RenderOptions) -> Iterator[Motion]:
        n_frames = round(25 * sound.duration_s)
        yield Motion(np.zeros((n_frames, N_HEAD_POSE)), np.zeros((n_frames, N_DYNAMICS)))

    monkeypatch.setenv("VASA_WEIGHTS", str(fake_weights_dir))
    monkeypatch.setenv("VASA_KEYS", str(tmp_path / "no-keys"))
    unused = {"geometry": None, "emotions": None}  # no control is asked for
    models = SimpleNamespace(reader=seen, device=torch.device("cpu"), **unused)
    monkeypatch.setattr(pipeline, "load_models", lambda folder, device: models)
    monkeypatch.setattr(pipeline.sampling, "sample_pieces", still)
    monkeypatch.setattr(pipeline.Renderer, "draw", lambda *given: seen.draw(*given))
    monkeypatch.setattr(video, "FFmpeg", Writing)
    return seen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with photo.png and speech.wav, 0.4 s long."""
    made = tmp_path / "work"
    made.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(noise).save(made / "photo.png")
    write_sound(made / "speech.wav")
    return made


def write_sound(path: Path, *, duration_s: float = 0.4, level: float = 0.3) -> None:
    t = np.arange(round(duration_s * 16000)) / 16000
    with wave.open(str(path), "wb") as opened:
        opened.setparams((1, 2, 16000, len(t), "NONE", ""))
        opened.writeframes((level * 32767 * np.sin(2 * np.pi * 220 * t)).astype("<i2").tobytes())


def render(folder: Path, *flags: object, speech: str = "speech.wav") -> Result:
    arguments = (folder / "photo.png", folder / speech, "--size", 128, "--device", "cpu", *flags)
    return run_vasa("render", *arguments)


def refusal(folder: Path, exit_code: int, *flags: object, speech: str = "speech.wav") -> str:
    """The one line of a render that fails with this code and leaves nothing."""
    before = {p.name for p in folder.iterdir() if ".part" not in p.name}
    result = render(folder, *flags, speech=speech)
    assert (result.exit_code, result.stdout) == (exit_code, ""), result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert {p.name for p in folder.iterdir()} == before
    return result.stderr


def test_the_line_without_its_networks_is_whole(scene: Scene, folder: Path) -> None:
    result = render(folder, "--json", "--seed", 9)
    assert (result.exit_code, result.stderr) == (0, "")
    told = json.loads(result.stdout)
    assert (told["n_frames"], told["seed"], told["warnings"]) == (10, 9, [])
    assert len(told["frames_sha256"]) == 64
    assert probe(Path(told["output"]), count_frames=True).n_frames == 10


# Bad files


def spoil_text(path: Path) -> None:
    path.write_text("not a picture at all\n" * 20)


def spoil_empty(path: Path) -> None:
    path.write_bytes(b"")


def spoil_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil_length(duration_s: float) -> Callable[[Path], None]:
    return lambda path: write_sound(path, duration_s=duration_s)


@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [
        ("photo.png", spoil_text, "is not a picture that can be read; give a JPEG or PNG"),
        ("photo.png", spoil_empty, "is empty (0 bytes)"),
        ("photo.png", spoil_half, "is damaged or cut short"),
        ("photo.png", Path.unlink, "does not exist; check its name and folder"),
        ("speech.wav", spoil_text, "is not a sound that can be read"),
        ("speech.wav", spoil_empty, "is empty (0 bytes)"),
        ("speech.wav", spoil_length(0), "is of zero length"),
        ("speech.wav", spoil_length(0.1), "lasts 0.10 s; at least 0.2 s are needed"),
        ("speech.wav", Path.unlink, "does not exist"),
    ],
)
def test_a_bad_input_exits_with_3(
    scene: Scene, folder: Path, name: str, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(folder / name)
    line = refusal(folder, 3)
    assert name in line and words in line


# The picture


def test_no_face_says_what_was_seen_and_offers_the_box(scene: Scene, folder: Path) -> None:
    scene.faces = []
    line = refusal(folder, 3)
    assert f"no face found in {folder / 'photo.png'} ({WIDTH}x{HEIGHT});" in line
    assert "use a front-facing portrait or give --face-box" in line
    assert render(folder, "--face-box", "10,20,110,140").exit_code == 0


@pytest.mark.parametrize("box", ["0,0,121,160", "-1,0,50,50", "0,0,120,161"])
def test_a_box_beyond_the_picture_is_misuse(scene: Scene, folder: Path, box: str) -> None:
    line = refusal(folder, 2, "--face-box", box)
    assert f"the face box {box} is not inside photo.png (120x160)" in line


def test_of_several_faces_the_largest_is_taken_and_said(scene: Scene, folder: Path) -> None:
    scene.faces = [Detection(20.0, 80.0, 90.0, 0.9), FACE, Detection(100.0, 80.0, 95.0, 0.9)]
    assert render(folder).stderr == (
        "warning: 3 faces found in photo.png; took the largest, number 2 from the left"
        " (--face N takes another)\n"
    )
    assert render(folder, "--face", 3, "--force").stderr == ""
    (folder / "speech.mp4").unlink()
    line = refusal(folder, 2, "--face", 4)
    assert "there is no face 4 in" in line and "give --face 1 to 3" in line


@pytest.mark.parametrize(
    ("yaw", "pitch", "warned"),
    [(45, 0, False), (-45, 0, False), (46, 0, True), (-80, 0, True), (0, 50, True), (0, 44, False)],
)
def test_a_face_turned_beyond_45_degrees_is_rendered_and_warned_about(
    scene: Scene, folder: Path, yaw: float, pitch: float, warned: bool
) -> None:
    scene.yaw, scene.pitch = yaw, pitch
    result = render(folder)
    assert result.exit_code == 0
    assert ("is turned far" in result.stderr) == warned
    assert (f"(yaw {yaw}, pitch {pitch} degrees)" in result.stderr) == warned


@pytest.mark.parametrize(("height", "warned"), [(79.0, True), (80.0, False)])
def test_a_tiny_face_is_rendered_and_warned_about(
    scene: Scene, folder: Path, height: float, warned: bool
) -> None:
    scene.faces = [Detection(60.0, 80.0, height, 0.9)]
    result = render(folder)
    assert result.exit_code == 0
    assert ("is only 79 pixels high; a larger picture" in result.stderr) == warned


# The sound


def test_a_video_without_a_sound_track_exits_with_3(scene: Scene, folder: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=96x80:d=0.2", folder / "mute.mov")
    line = refusal(folder, 3, speech="mute.mov")
    assert "mute.mov has no sound track; give a sound file, or a video with sound" in line


def test_a_silent_track_is_rendered_and_said(scene: Scene, folder: Path) -> None:
    write_sound(folder / "speech.wav", level=0)
    result = render(folder)
    assert result.exit_code == 0
    assert result.stderr == "warning: speech.wav is silent; the mouth will rest\n"
    assert probe(folder / "speech.mp4").has_audio


# The output


def test_an_output_that_exists_is_kept(scene: Scene, folder: Path) -> None:
    (folder / "speech.mp4").write_bytes(b"precious")
    assert "exists; give --force to replace it" in refusal(folder, 2)
    assert (folder / "speech.mp4").read_bytes() == b"precious"


def test_a_missing_output_folder_is_misuse(scene: Scene, folder: Path) -> None:
    line = refusal(folder, 2, "-o", folder / "none" / "a.mp4")
    assert f"does not exist; make it: mkdir -p {folder / 'none'}" in line


def test_a_read_only_output_folder_is_misuse(
    scene: Scene, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # root, who may run the tests, may write everywhere
    monkeypatch.setattr("os.access", lambda path, mode: mode == os.R_OK)
    assert f"output folder {folder} is read-only" in refusal(folder, 2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_exits_with_5(scene: Scene, folder: Path) -> None:
    (folder / f".speech.{os.getpid()}.part.mp4").symlink_to("/dev/full")
    line = refusal(folder, 5)
    assert f"disk full: no space left in {folder} for speech.mp4; free some and run again" in line


# The machine


def test_a_device_that_is_not_there_is_misuse(
    scene: Scene, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = refusal(folder, 2, "--device", "cuda")
    assert "device cuda is not available here; choose from auto, cpu" in line


def test_a_missing_ffmpeg_exits_with_5(
    scene: Scene, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(folder / "none"))
    assert "ffmpeg cannot be started" in refusal(folder, 5)


def test_an_ffmpeg_killed_midway_exits_with_5(scene: Scene, folder: Path) -> None:
    def kill(number: int) -> None:
        if number == 4:
            assert scene.writing is not None
            os.kill(scene.writing.pid, signal.SIGKILL)

    scene.act = kill
    line = refusal(folder, 5)
    assert "speech.mp4: ended by signal 9; run again" in line


def test_an_ffmpeg_that_fails_midway_exits_with_5_in_its_own_words(
    scene: Scene, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "head -c 100000 >/dev/null; echo '[libx264 @ 0x5f] broken.' 1>&2; exit 1"

    real = pipeline.load_audio

    def load_then_break(path: Path, **named: Any) -> Audio:
        loaded = real(path, **named)
        use_stub_ffmpeg(tmp_path, monkeypatch, script)
        return loaded

    monkeypatch.setattr(pipeline, "load_audio", load_then_break)
    assert "speech.mp4: broken; run again" in refusal(folder, 5)


@pytest.mark.parametrize(
    ("error", "exit_code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 5, "error: out of memory; close other programs"),
        (RuntimeError("odd shape"), 1, "error: unexpected RuntimeError: odd shape"),
    ],
)
@pytest.mark.parametrize("existing", [False, True])
def test_a_render_that_stops_midway_leaves_nothing_and_harms_nothing(
    scene: Scene,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    exit_code: int,
    words: str,
    existing: bool,
) -> None:
    monkeypatch.delenv("VASA_DEBUG", raising=False)
    if existing:
        (folder / "speech.mp4").write_bytes(b"the old one")

    def stop(number: int) -> None:
        if number == 5:
            raise error

    scene.act = stop
    assert words in refusal(folder, exit_code, *(["--force"] if existing else []))
    if existing:
        assert (folder / "speech.mp4").read_bytes() == b"the old one"


# The weights


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (Path.unlink, "geometry.safetensors are missing"),
        (spoil_half, "bytes, not"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"), "are damaged (SHA-256"),
        (lambda path: None, "are of another version (mean is missing)"),
    ],
    ids=["missing", "truncated", "damaged", "mismatched"],
)
def test_bad_weights_exit_with_4(
    folder: Path, fake_weights_dir: Path, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(fake_weights_dir / "geometry.safetensors")
    assert words in refusal(folder, 4, "--weights-dir", fake_weights_dir)


def test_a_folder_without_weights_exits_with_4(folder: Path, tmp_path: Path) -> None:
    line = refusal(folder, 4, "--weights-dir", tmp_path / "none")
    assert "no manifest.json in" in line and "give a folder with vasa's weights" in line
