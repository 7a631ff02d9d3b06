"""The whole line with the trained weights: real pictures and sounds in, MP4s out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import wave
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from vasa_cli.audio import load_audio
from vasa_cli.config import Progress, RenderOptions
from vasa_cli.errors import InputError, UsageError
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE
from vasa_cli.motion import MOUTH_OPEN, Motion
from vasa_cli.pipeline import BATCH, Renderer
from vasa_cli.placement import place
from vasa_cli.video import decoded_sha256, probe, read_video

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SMALL = RenderOptions(size=128, num_steps=2)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(device="cpu")


@pytest.fixture(scope="module")
def photo() -> Path:
    return EXAMPLES / "portrait.jpg"


def sound(path: Path, seconds: float, *, level: float = 0.3, rate: int = 16000) -> Path:
    """A tone that comes and goes three times a second."""
    t = np.arange(round(seconds * rate)) / rate
    samples = level * np.sin(2 * np.pi * 220 * t) * (np.sin(2 * np.pi * 3 * t) > 0)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def test_a_render_is_as_long_as_the_sound_and_as_large_as_asked(
    renderer: Renderer, photo: Path, tmp_path: Path
) -> None:
    result = renderer.render(photo, sound(tmp_path / "s.wav", 0.73), options=SMALL)
    info = probe(result.output, count_frames=True)
    assert result.output == tmp_path / "s.mp4"
    assert (info.width, info.height, info.n_frames, info.codec) == (128, 128, 18, "h264")
    assert info.fps == 25 and info.has_audio and info.pixel_format.startswith("yuv420p")


@pytest.mark.parametrize("fps", [Fraction(24), Fraction(30000, 1001), Fraction(60)])
def test_any_frame_rate(renderer: Renderer, photo: Path, tmp_path: Path, fps: Fraction) -> None:
    options = RenderOptions(size=128, num_steps=2, fps=fps)
    result = renderer.render(photo, sound(tmp_path / "s.wav", 0.5), options=options)
    info = probe(result.output, count_frames=True)
    assert info.fps == fps and info.n_frames == round(Fraction(1, 2) * fps)


def test_the_shortest_sound_makes_a_video(renderer: Renderer, photo: Path, tmp_path: Path) -> None:
    assert renderer.render(photo, sound(tmp_path / "s.wav", 0.2), options=SMALL).n_frames == 5


def test_same_inputs_and_seed_give_the_same_frames_and_another_seed_others(
    renderer: Renderer, photo: Path, tmp_path: Path
) -> None:
    speech = sound(tmp_path / "s.wav", 0.6)
    outputs = [
        renderer.render(
            photo,
            speech,
            tmp_path / f"{k}.mp4",
            options=RenderOptions(size=128, num_steps=2, seed=seed),
        )
        for k, seed in enumerate((7, 7, 8))
    ]
    hashes = [o.frames_sha256 for o in outputs]
    assert hashes[0] == hashes[1] != hashes[2]
    assert decoded_sha256(outputs[0].output) == decoded_sha256(outputs[1].output)
    assert outputs[0].seed == 7


# Two renders one after the other; after each, this process's peak memory and that of its ffmpeg.
# Not getrusage: a program's ru_maxrss begins with the peak of the program that started it.
MEASURE = """
import re, sys
from fractions import Fraction
from pathlib import Path
from vasa_cli import RenderOptions, Renderer
def peak_kb(pid):
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path(f"/proc/{pid}/status").read_text())[1])
def look_at_ffmpeg(progress):
    if progress.stage == "frames" and progress.done in (1, progress.total):
        for thread in Path("/proc/self/task").glob("*/children"):
            peaks.extend(map(peak_kb, thread.read_text().split()))
photo, *sounds = map(Path, sys.argv[1:])
options = RenderOptions(fps=Fraction(1), size=256, num_steps=1, guidance_audio=0)
renderer = Renderer(device="cpu")
for sound in sounds:
    peaks = []
    result = renderer.render(photo, sound, options=options, progress=look_at_ffmpeg)
    print(result.n_frames, peak_kb("self"), max(peaks))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_grows_by_no_more_than_sound_and_motion(photo: Path, tmp_path: Path) -> None:
    # A minute of sound is 1.9 MB, of what is heard in it 0.3 MB and of motion 0.3 MB, copied a few
    # times; 3.6 to 5.9 MB were measured, in part glibc's own, which differs by the run. Frames
    # that are kept, even at one a second, would be 12 MB more. All else (networks, buffers of each
    # size) is there after two minutes. glibc is told to give back what is freed, and to keep one
    # heap however many threads there are, so that the peak is what was in use.
    exact = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    minutes = (2, 10)
    sounds = [str(sound(tmp_path / f"{m}.wav", 60 * m)) for m in minutes]
    printed = subprocess.run(
        [sys.executable, "-c", MEASURE, str(photo), *sounds],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=exact,
    ).stdout
    (n_short, *short), (n_long, *long) = (map(int, row.split()) for row in printed.splitlines())
    assert (n_short, n_long) == tuple(60 * m for m in minutes)
    for before_kb, after_kb in zip(short, long):  # vasa, ffmpeg
        assert after_kb - before_kb < 8_000 * (minutes[1] - minutes[0])


def test_frames_do_not_depend_on_the_number_of_threads(renderer: Renderer, photo: Path) -> None:
    portrait = renderer.read_portrait(photo, SMALL)
    placement = place(portrait.picture, portrait.window, SMALL)
    pose = np.linspace(-8, 8, 2 * BATCH + 3)[:, None] * np.eye(1, N_HEAD_POSE)
    motion = Motion(pose, np.zeros((len(pose), N_DYNAMICS)))
    before, drawn = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            drawn.append(np.stack(list(renderer.draw(portrait, [motion], placement))))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(drawn[0], drawn[1]) and np.array_equal(drawn[0], drawn[2])
    assert len(drawn[0]) == len(pose) and not np.array_equal(drawn[0][0], drawn[0][-1])


def test_speech_opens_the_mouth_and_silence_rests_it(renderer: Renderer) -> None:
    speech = load_audio(EXAMPLES / "speech.wav")
    spoken = renderer.sample_motion(speech, RenderOptions()).dynamics[:, MOUTH_OPEN]
    silent = replace(speech, samples=np.zeros_like(speech.samples))
    rested = renderer.sample_motion(silent, RenderOptions()).dynamics[:, MOUTH_OPEN]
    assert np.percentile(spoken, 90) > 3 * max(np.percentile(rested, 90), 0.1)
    assert spoken.std() > 3 * rested.std()


def test_a_silent_sound_is_rendered_and_said(
    renderer: Renderer, photo: Path, tmp_path: Path
) -> None:
    result = renderer.render(photo, sound(tmp_path / "s.wav", 0.4, level=0), options=SMALL)
    assert any("s.wav is silent" in w for w in result.warnings)


def test_preview_renders_only_the_beginning(
    renderer: Renderer, photo: Path, tmp_path: Path
) -> None:
    options = RenderOptions(size=128, num_steps=2, preview_s=0.4)
    result = renderer.render(photo, sound(tmp_path / "s.wav", 3.0), options=options)
    assert result.n_frames == 10


def test_the_whole_photo_keeps_its_shape_and_its_far_corners(
    renderer: Renderer, photo: Path, tmp_path: Path
) -> None:
    face = Image.open(photo).convert("RGB").resize((160, 160))
    wide = Image.new("RGB", (480, 240), (40, 90, 160))
    wide.paste(face, (160, 60))
    wide.save(tmp_path / "wide.png")
    options = RenderOptions(size=480, num_steps=2, frame="photo", crf=5)
    result = renderer.render(tmp_path / "wide.png", sound(tmp_path / "s.wav", 0.4), options=options)
    frames = np.stack(list(read_video(result.output))).astype(int)
    assert (result.width, result.height) == (480, 240)
    assert np.abs(frames[:, :30, :60] - [40, 90, 160]).max() < 12
    assert frames[:, 80:200, 180:300].std(0).max() > 1  # the face does move


def test_two_faces_take_the_larger_and_say_so(
    renderer: Renderer, photo: Path, tmp_path: Path
) -> None:
    face = Image.open(photo).convert("RGB")
    pair = Image.new("RGB", (900, 512), (90, 90, 90))
    pair.paste(face.resize((300, 300)), (20, 180))
    pair.paste(face.resize((480, 480)), (400, 20))
    pair.save(tmp_path / "pair.png")
    speech = sound(tmp_path / "s.wav", 0.2)
    result = renderer.render(tmp_path / "pair.png", speech, tmp_path / "a.mp4", options=SMALL)
    assert any(
        re.search(r"2 faces found .* took the largest, number 2 ", w) for w in result.warnings
    )
    first = RenderOptions(size=128, num_steps=2, face=1)
    other = renderer.render(tmp_path / "pair.png", speech, tmp_path / "b.mp4", options=first)
    assert other.frames_sha256 != result.frames_sha256
    with pytest.raises(UsageError, match="there is no face 3"):
        renderer.render(
            tmp_path / "pair.png", speech, tmp_path / "c.mp4", options=RenderOptions(face=3)
        )


def test_no_face_is_said_with_what_to_do(renderer: Renderer, tmp_path: Path) -> None:
    Image.new("RGB", (320, 200), (120, 150, 90)).save(tmp_path / "wall.png")
    with pytest.raises(
        InputError, match=r"no face found in .*wall.png \(320x200\).*--face-box"
    ) as raised:
        renderer.render(tmp_path / "wall.png", sound(tmp_path / "s.wav", 0.3))
    assert raised.value.exit_code == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.wav", "wall.png"]


def test_a_face_box_is_used_and_checked(renderer: Renderer, photo: Path, tmp_path: Path) -> None:
    speech = sound(tmp_path / "s.wav", 0.2)
    width, height = Image.open(photo).size
    box = (0.3 * width, 0.2 * height, 0.7 * width, 0.7 * height)
    renderer.render(
        photo,
        speech,
        tmp_path / "a.mp4",
        options=RenderOptions(size=128, num_steps=2, face_box=box),
    )
    with pytest.raises(UsageError, match="is not inside"):
        renderer.render(
            photo, speech, tmp_path / "b.mp4", options=RenderOptions(face_box=(0, 0, 9999, 10))
        )


def test_a_tiny_face_is_warned_about(renderer: Renderer, photo: Path, tmp_path: Path) -> None:
    Image.open(photo).convert("RGB").resize((110, 110)).save(tmp_path / "small.png")
    result = renderer.render(tmp_path / "small.png", sound(tmp_path / "s.wav", 0.2), options=SMALL)
    assert any("pixels high" in w for w in result.warnings)


def test_an_output_that_is_an_input_is_refused(
    renderer: Renderer, photo: Path, tmp_path: Path
) -> None:
    speech = sound(tmp_path / "s.wav", 0.2)
    with pytest.raises(UsageError):
        renderer.render(photo, speech, speech, options=RenderOptions(force=True))


def test_an_existing_output_needs_force(renderer: Renderer, photo: Path, tmp_path: Path) -> None:
    speech, output = sound(tmp_path / "s.wav", 0.2), tmp_path / "o.mp4"
    output.write_bytes(b"mine")
    with pytest.raises(UsageError, match="--force"):
        renderer.render(photo, speech, output, options=SMALL)
    assert output.read_bytes() == b"mine"
    forced = RenderOptions(size=128, num_steps=2, force=True)
    assert renderer.render(photo, speech, output, options=forced).n_frames == 5


def test_progress_goes_through_every_stage(renderer: Renderer, photo: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    renderer.render(photo, sound(tmp_path / "s.wav", 0.4), options=SMALL, progress=seen.append)
    assert list(dict.fromkeys(p.stage for p in seen)) == [
        "photo",
        "speech",
        "motion",
        "frames",
        "encode",
    ]
    assert [p.done for p in seen if p.stage == "frames"] == list(range(1, 11))


def test_a_portrait_is_read_once(renderer: Renderer, photo: Path) -> None:
    assert renderer.read_portrait(photo, SMALL) is renderer.read_portrait(
        photo, RenderOptions(seed=5)
    )


def heed_interrupts() -> None:
    """A background shell hands down an ignored SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_render_leaves_nothing_and_exits_130(
    photo: Path, tmp_path: Path, how: signal.Signals
) -> None:
    speech = sound(tmp_path / "s.wav", 60.0)
    command = [sys.executable, "-m", "vasa_cli", "render", str(photo), str(speech), "--size", "256"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )
    deadline = time.monotonic() + 60
    while (
        not list(tmp_path.glob(".*.part.mp4"))
        and time.monotonic() < deadline
        and process.poll() is None
    ):
        time.sleep(0.05)
    process.send_signal(how)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert [p.name for p in tmp_path.iterdir()] == ["s.wav"]
    assert b"Traceback" not in errors


def test_a_drawn_circle_is_no_face(renderer: Renderer) -> None:
    canvas = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(canvas).ellipse((60, 60, 200, 200), outline="black", width=3)
    assert renderer.models.reader.detect(np.asarray(canvas)) == []
