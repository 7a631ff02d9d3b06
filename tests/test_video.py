"""Videos out and back in: what was written is read back by ffmpeg and measured."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any, Iterator

import imageio_ffmpeg
import numpy as np
import pytest

from vasa_cli.audio import load_audio
from vasa_cli.errors import InputError, ResourceError, UsageError, VasaError
from vasa_cli.video import (
    METADATA_KEYS,
    VideoWriter,
    check_output,
    decoded_sha256,
    probe,
    read_video,
)

WIDTH, HEIGHT = 64, 48


def ffmpeg(*arguments: str | Path) -> bytes:
    """Run the bundled ffmpeg; returns its stdout."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments]
    words = [str(argument) for argument in command]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout


def tone(path: Path, *, duration_s: float = 1.0, rate: int = 16_000, channels: int = 1) -> Path:
    source = f"sine=f=440:d={duration_s}:r={rate}"
    ffmpeg("-f", "lavfi", "-i", source, "-ac", str(channels), path)
    return path


def moving(n_frames: int) -> Iterator[np.ndarray]:
    """Smooth (H, W, 3) frames, each redder than the one before."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for i in range(n_frames):
        yield np.stack([x * 3 + 4 * i, y * 4, 255 - x * 3], -1).clip(0, 255).astype(np.uint8)


def writer(output: Path, **changes: Any) -> VideoWriter:
    settings: dict[str, Any] = {
        "width": WIDTH,
        "height": HEIGHT,
        "fps": Fraction(25),
        "audio": None,
        "duration_s": 1.0,
        "crf": 10,
        "threads": 1,
    }
    return VideoWriter(output, **(settings | changes))


def write(output: Path, *, n_frames: int = 3, **changes: Any) -> Path:
    with writer(output, **changes) as video:
        for frame in moving(n_frames):
            video.write(frame)
    assert video.n_frames == n_frames
    return output


def use_stub_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    stub = folder / "ffmpeg-stub"
    stub.write_text(f"#!/bin/sh\n{script}\n")
    stub.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(stub))


def failure(output: Path, n_frames: int = 400, **changes: Any) -> str:
    """The words of the ResourceError that a write ends in, with nothing left behind."""
    before = set(output.parent.iterdir())
    with pytest.raises(ResourceError) as caught:
        write(output, n_frames=n_frames, **changes)
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)
    assert set(output.parent.iterdir()) - before == set()
    return str(caught.value)


@pytest.mark.parametrize(
    "fps",
    [Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(50), Fraction(60)],
)
def test_frames_size_rate_and_lengths_come_back(tmp_path: Path, fps: Fraction) -> None:
    speech = tone(tmp_path / "speech.wav", rate=44_100)
    n_frames = round(fps)
    output = write(tmp_path / "clip.mp4", n_frames=n_frames, fps=fps, audio=speech)
    seen = probe(output, count_frames=True)
    assert (seen.width, seen.height, seen.fps, seen.n_frames) == (WIDTH, HEIGHT, fps, n_frames)
    assert (seen.codec, seen.audio_codec, seen.has_audio) == ("h264", "aac", True)
    assert sum(1 for _ in read_video(output)) == n_frames
    sound = ffmpeg("-i", output, "-map", "0:a:0", "-f", "s16le", "-")
    assert abs(len(sound) / 2 / 44_100 - n_frames / fps) <= 1 / fps


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (22_050, 2), (48_000, 2), (11_025, 1)])
def test_the_sound_keeps_its_rate_and_channels(tmp_path: Path, rate: int, channels: int) -> None:
    speech = tone(tmp_path / "speech.wav", rate=rate, channels=channels)
    output = write(tmp_path / "clip.mp4", n_frames=25, audio=speech)
    assert probe(output).audio_sample_rate == rate
    sound = ffmpeg("-i", output, "-f", "s16le", "-")
    assert abs(len(sound) / 2 / channels / rate - 1) <= 1 / 25


@pytest.mark.parametrize("rate", [96_000, 88_200])
def test_six_channels_of_studio_sound_become_48_khz_stereo(tmp_path: Path, rate: int) -> None:
    speech = tone(tmp_path / "speech.flac", rate=rate, channels=6)
    output = write(tmp_path / "clip.mp4", n_frames=25, audio=speech)
    assert probe(output).audio_sample_rate == 48_000
    assert abs(len(ffmpeg("-i", output, "-f", "s16le", "-")) / 4 / 48_000 - 1) <= 1 / 25


def test_the_sound_is_cut_to_the_duration(tmp_path: Path) -> None:
    speech = tone(tmp_path / "speech.mp3", duration_s=3, rate=44_100)
    output = write(tmp_path / "clip.mp4", n_frames=10, audio=speech, duration_s=0.4)
    assert abs(load_audio(output).duration_s - 0.4) <= 1 / 25
    assert abs(probe(output).duration_s - 0.4) <= 1 / 25


@pytest.mark.parametrize("ending", ["wav", "mp3", "m4a", "opus", "mkv"])
def test_the_sound_stays_where_load_audio_has_it(tmp_path: Path, ending: str) -> None:
    # A click at 0.4 s; in the mkv its track starts half a second after the video's.
    click = (
        "-f",
        "lavfi",
        "-i",
        "aevalsrc='if(between(t,0.4,0.41),0.9*sin(9000*t),0)':d=1:s=48000",
    )
    late = ("-f", "lavfi", "-i", "testsrc=s=64x48:d=1.5", "-itsoffset", "0.5")
    ffmpeg(*(late if ending == "mkv" else ()), *click, tmp_path / f"speech.{ending}")
    speech = load_audio(tmp_path / f"speech.{ending}")
    output = write(tmp_path / "clip.mp4", n_frames=25, audio=speech.path)
    at = [int(np.argmax(np.abs(sound.as_float()) > 0.3)) for sound in (speech, load_audio(output))]
    assert abs(at[0] - 0.4 * 16_000) < 0.03 * 16_000  # mp3 decoders differ by a frame
    assert abs(at[0] - at[1]) < 0.005 * 16_000


def test_of_several_tracks_the_first_is_taken_as_by_load_audio(tmp_path: Path) -> None:
    quiet = ("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono")
    wide = ("-f", "lavfi", "-i", "sine=r=48000:d=1")
    both = ("-map", "0", "-map", "1", "-ac:1", "2", "-t", "1")
    ffmpeg(*quiet, *wide, *both, tmp_path / "two.mkv")
    assert load_audio(tmp_path / "two.mkv").is_silent
    output = write(tmp_path / "clip.mp4", n_frames=25, audio=tmp_path / "two.mkv")
    assert load_audio(output).is_silent


def test_a_damaged_sound_that_load_audio_takes_is_written(tmp_path: Path) -> None:
    speech = tone(tmp_path / "speech.flac", duration_s=2, rate=44_100)
    data = bytearray(speech.read_bytes())
    data[len(data) // 3 :: 50] = b"\x55" * len(data[len(data) // 3 :: 50])
    speech.write_bytes(data)
    loaded = load_audio(speech)
    assert loaded.fault is not None
    output = write(tmp_path / "clip.mp4", n_frames=5, audio=speech, duration_s=loaded.duration_s)
    assert abs(load_audio(output).duration_s - loaded.duration_s) <= 1 / 25


def test_no_audio_gives_a_mute_video(tmp_path: Path) -> None:
    assert not probe(write(tmp_path / "clip.mp4")).has_audio


def test_pixels_come_back_and_in_order(tmp_path: Path) -> None:
    output = write(tmp_path / "clip.mp4", n_frames=10, crf=10)
    for seen, meant in zip(read_video(output), moving(10), strict=True):
        assert np.abs(seen.astype(int) - meant).mean() < 3
        assert abs(seen[:, :40, 0].mean() - meant[:, :40, 0].mean()) < 1.5  # the next is +4


def test_more_crf_gives_fewer_bytes(tmp_path: Path) -> None:
    sharp, rough = (write(tmp_path / f"{crf}.mp4", n_frames=5, crf=crf) for crf in (10, 40))
    assert sharp.stat().st_size > rough.stat().st_size


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 90)])
def test_colours_are_bt709_in_tv_range_and_tagged_so(
    tmp_path: Path, colour: tuple[int, int, int]
) -> None:
    with writer(tmp_path / "flat.mp4") as video:
        video.write(np.full((HEIGHT, WIDTH, 3), colour, np.uint8))
    assert probe(tmp_path / "flat.mp4").pixel_format.startswith("yuv420p(tv, bt709")
    planes = np.frombuffer(ffmpeg("-i", tmp_path / "flat.mp4", "-f", "rawvideo", "-"), np.uint8)
    luma = 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]  # ITU-R BT.709
    n_pixels = WIDTH * HEIGHT
    assert abs(planes[:n_pixels].mean() - (16 + 219 * luma / 255)) < 1.5
    blue = planes[n_pixels : n_pixels * 5 // 4].mean()
    assert abs(blue - (128 + 224 * (colour[2] - luma) / 1.8556 / 255)) < 1.5
    assert np.abs(next(read_video(tmp_path / "flat.mp4")).astype(int) - colour).max() <= 4


def test_equal_frames_give_equal_files(tmp_path: Path) -> None:
    speech = tone(tmp_path / "speech.wav")
    one, two = (write(tmp_path / f"{i}.mp4", n_frames=25, audio=speech) for i in (1, 2))
    assert one.read_bytes() == two.read_bytes()


def test_the_index_comes_first_for_streaming(tmp_path: Path) -> None:
    data = write(tmp_path / "clip.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_metadata_is_stored_under_every_key_that_is_let_through(tmp_path: Path) -> None:
    texts = {key: f"ü {key} = 1; #2" for key in METADATA_KEYS - {"date"}} | {"date": "2024"}
    output = write(tmp_path / "clip.mp4", metadata=texts)
    stored = ffmpeg("-i", output, "-f", "ffmetadata", "-").decode().replace("\\", "")
    for key, text in texts.items():
        assert f"{key}={text}\n" in stored


def test_the_owner_of_the_speech_is_not_copied(tmp_path: Path) -> None:
    tags = ("-metadata", "artist=Ada", "-metadata:s:a", "title=Ada", "-metadata", "comment=Ada")
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", *tags, tmp_path / "speech.m4a")
    output = write(tmp_path / "clip.mp4", n_frames=25, audio=tmp_path / "speech.m4a")
    assert b"Ada" in (tmp_path / "speech.m4a").read_bytes()
    assert b"Ada" not in output.read_bytes()


def test_frames_need_not_be_contiguous(tmp_path: Path) -> None:
    frame = next(moving(1))
    for name, given in (("a.mp4", frame[:, ::-1]), ("b.mp4", frame[:, ::-1].copy())):
        with writer(tmp_path / name) as video:
            video.write(given)
    assert decoded_sha256(tmp_path / "a.mp4") == decoded_sha256(tmp_path / "b.mp4")


def test_an_existing_file_is_replaced_only_at_the_end(tmp_path: Path) -> None:
    output = tmp_path / "clip.mp4"
    output.write_text("the old one")
    with writer(output) as video:
        video.write(next(moving(1)))
        assert output.read_text() == "the old one"
    assert probe(output).codec == "h264"
    assert os.listdir(tmp_path) == ["clip.mp4"]


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_an_exception_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        with writer(tmp_path / "clip.mp4") as video:
            for frame in moving(30):
                video.write(frame)
            raise error
    assert os.listdir(tmp_path) == []
    with pytest.raises(ProcessLookupError):
        os.kill(video._ffmpeg.pid, 0)


def test_ctrl_c_does_not_reach_ffmpeg_itself(tmp_path: Path) -> None:
    with writer(tmp_path / "clip.mp4") as video:
        assert os.getpgid(video._ffmpeg.pid) != os.getpgid(0)
        video.write(next(moving(1)))


def test_an_ffmpeg_killed_midway_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        ResourceError, match=r"after \d+ frames of .*clip.mp4: ended by signal 9"
    ) as caught:
        with writer(tmp_path / "clip.mp4") as video:
            for i, frame in enumerate(moving(400)):
                if i == 5:
                    os.kill(video._ffmpeg.pid, signal.SIGKILL)
                video.write(frame)
    assert caught.value.exit_code == 5
    assert os.listdir(tmp_path) == []


def test_an_ffmpeg_killed_after_the_last_frame_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="ended by signal 9"):
        with writer(tmp_path / "clip.mp4") as video:
            video.write(next(moving(1)))
            os.kill(video._ffmpeg.pid, signal.SIGKILL)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("n_frames", [1, 400])
def test_a_full_disk_is_told(tmp_path: Path, n_frames: int) -> None:
    # The real ffmpeg, whose partial file is the device that is always full.
    (tmp_path / f".clip.{os.getpid()}.part.mp4").symlink_to("/dev/full")
    words = failure(tmp_path / "clip.mp4", n_frames)
    assert words == f"disk full: no space left in {tmp_path} for clip.mp4; free some and run again"
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fills_up_later_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "head -c 100000 > /dev/null; echo 'av_write: No space left on device' 1>&2; exit 1"
    use_stub_ffmpeg(tmp_path, monkeypatch, script)
    assert "disk full: no space left in" in failure(tmp_path / "clip.mp4")


def test_the_words_of_a_failing_ffmpeg_are_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "echo '[libx264 @ 0x5f] broken.' 1>&2; echo 'Conversion failed!' 1>&2; exit 7"
    use_stub_ffmpeg(tmp_path, monkeypatch, script)
    assert "clip.mp4: broken; run again" in failure(tmp_path / "clip.mp4")


def test_a_failing_ffmpeg_without_words_is_told_by_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_stub_ffmpeg(tmp_path, monkeypatch, "exit 7")
    assert "clip.mp4: exit status 7; run again" in failure(tmp_path / "clip.mp4")


def test_an_ffmpeg_that_wrote_nothing_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_stub_ffmpeg(tmp_path, monkeypatch, "cat > /dev/null")
    assert "ffmpeg failed after 3 frames" in failure(tmp_path / "clip.mp4", n_frames=3)


def test_a_sound_that_vanished_is_told(tmp_path: Path) -> None:
    words = failure(tmp_path / "clip.mp4", audio=tmp_path / "gone.wav")
    assert "No such file or directory" in words


def test_an_output_that_became_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").mkdir()
    assert "cannot put" in failure(tmp_path / "clip.mp4", n_frames=1)


@pytest.mark.parametrize("size", [(63, 48), (64, 47), (0, 48)])
def test_odd_sizes_are_a_mistake_of_the_caller(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="even sizes"):
        writer(tmp_path / "clip.mp4", width=size[0], height=size[1])


@pytest.mark.parametrize(
    "changes",
    [{"fps": Fraction(0)}, {"duration_s": 0.0}, {"duration_s": np.nan}, {"metadata": {"gps": ""}}],
)
def test_impossible_settings_are_a_mistake_of_the_caller(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError):
        writer(tmp_path / "clip.mp4", **changes)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((WIDTH, HEIGHT, 3), np.uint8),
        np.zeros((HEIGHT, WIDTH), np.uint8),
        np.zeros((HEIGHT, WIDTH, 4), np.uint8),
        np.zeros((HEIGHT, WIDTH, 3), np.float32),
    ],
)
def test_a_frame_of_another_shape_or_type_is_a_mistake_of_the_caller(
    tmp_path: Path, frame: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="frame is"):
        with writer(tmp_path / "clip.mp4") as video:
            video.write(frame)
    assert os.listdir(tmp_path) == []


def test_no_frame_at_all_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frame was written"):
        with writer(tmp_path / "clip.mp4"):
            pass
    assert os.listdir(tmp_path) == []


def test_a_turned_video_is_read_upright(tmp_path: Path) -> None:
    write(tmp_path / "flat.mp4", n_frames=2)
    turn = ("-display_rotation", "90", "-i", tmp_path / "flat.mp4", "-c", "copy")
    ffmpeg(*turn, tmp_path / "turned.mp4")
    seen = probe(tmp_path / "turned.mp4")
    assert (seen.width, seen.height) == (HEIGHT, WIDTH)
    flat, turned = (next(read_video(tmp_path / f"{name}.mp4")) for name in ("flat", "turned"))
    assert turned.shape == (WIDTH, HEIGHT, 3)
    assert np.abs(np.rot90(flat).astype(int) - turned).mean() < 2  # anticlockwise


def test_odd_sizes_are_read(tmp_path: Path) -> None:
    source = ("-f", "lavfi", "-i", "testsrc=s=33x17:d=0.2:r=10", "-c:v", "ffv1")
    ffmpeg(*source, tmp_path / "odd.mkv")
    assert [frame.shape for frame in read_video(tmp_path / "odd.mkv")] == [(17, 33, 3)] * 2


def test_uneven_frame_times_are_neither_filled_nor_thinned(tmp_path: Path) -> None:
    source = ("-f", "lavfi", "-i", "testsrc=s=64x48:d=1:r=10", "-vf", "select='lt(n,3)+gt(n,7)'")
    ffmpeg(*source, "-fps_mode", "passthrough", tmp_path / "uneven.mkv")
    assert sum(1 for _ in read_video(tmp_path / "uneven.mkv")) == 5


def test_frames_are_the_callers_to_change(tmp_path: Path) -> None:
    frame = next(read_video(write(tmp_path / "clip.mp4")))
    assert frame.flags.writeable and frame.flags.c_contiguous and frame.dtype == np.uint8


def test_reading_can_stop_early(tmp_path: Path) -> None:
    frames = read_video(write(tmp_path / "clip.mp4", n_frames=50))
    next(frames)
    frames.close()  # type: ignore[attr-defined]


def test_the_hash_is_that_of_all_decoded_bytes(tmp_path: Path) -> None:
    source = ("-f", "lavfi", "-i", "testsrc=s=64x48:d=0.2:r=10", "-c:v", "ffv1")
    ffmpeg(*source, "-pix_fmt", "gbrp", tmp_path / "clip.mkv")  # no loss, no conversion
    raw = ffmpeg("-i", tmp_path / "clip.mkv", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    assert decoded_sha256(tmp_path / "clip.mkv") == hashlib.sha256(raw).hexdigest()
    longer = write(tmp_path / "clip.mp4", n_frames=3), write(tmp_path / "more.mp4", n_frames=4)
    assert decoded_sha256(longer[0]) != decoded_sha256(longer[1])


@pytest.mark.parametrize(
    ("rate", "fps"),
    [("24000/1001", Fraction(24000, 1001)), ("12.5", Fraction(25, 2)), ("120", Fraction(120))],
)
def test_the_exact_rate_is_found_behind_two_decimals(
    tmp_path: Path, rate: str, fps: Fraction
) -> None:
    ffmpeg("-f", "lavfi", "-i", f"testsrc=s=64x48:d=0.3:r={rate}", tmp_path / "clip.mp4")
    assert probe(tmp_path / "clip.mp4").fps == fps


def test_probing_tells_length_container_and_streams(tmp_path: Path) -> None:
    speech = tone(tmp_path / "speech.wav", duration_s=0.4)
    output = write(tmp_path / "clip.mp4", n_frames=10, audio=speech, duration_s=0.4)
    seen = probe(output)
    assert seen.path == output and "mp4" in seen.container
    assert abs(seen.duration_s - 0.4) <= 0.011  # ffmpeg prints two decimals
    assert seen.n_frames is None and seen.audio_sample_rate == 16_000


@pytest.mark.parametrize("read", [probe, read_video, decoded_sha256])
def test_what_is_no_video_is_refused(tmp_path: Path, read: Any) -> None:
    (tmp_path / "notes.mp4").write_text("no video at all\n" * 20)
    (tmp_path / "empty.mp4").touch()
    refusals = {
        tone(tmp_path / "speech.wav"): "is not a video that ffmpeg can read",
        tmp_path / "notes.mp4": "is not a video that ffmpeg can read",
        tmp_path / "empty.mp4": "is empty (0 bytes)",
        tmp_path / "gone.mp4": "does not exist",
        tmp_path: "is a folder; give a video file in it",
    }
    for path, words in refusals.items():
        with pytest.raises(InputError) as caught:
            list(read(path))
        assert words in str(caught.value) and str(path) in str(caught.value)
        assert caught.value.exit_code == 3


def test_a_video_that_breaks_off_is_told_after_its_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = r"printf 'P6\n2 1\n255\nabcdefP6\n2 1\n255\nabc'; echo 'end of file' 1>&2; exit 1"
    use_stub_ffmpeg(tmp_path, monkeypatch, script)
    (tmp_path / "clip.mp4").write_text("whatever")
    frames = read_video(tmp_path / "clip.mp4")
    np.testing.assert_array_equal(next(frames), [[[97, 98, 99], [100, 101, 102]]])
    with pytest.raises(InputError, match=r"breaks off after 1 frames \(end of file\)"):
        next(frames)


def misuse(path: Path, *, force: bool = False) -> str:
    with pytest.raises(UsageError) as caught:
        check_output(path, force=force)
    assert isinstance(caught.value, VasaError) and caught.value.exit_code == 2
    assert str(path) in str(caught.value) or str(path.parent) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["clip.mp4", "CLIP.MP4", "two words.v2.mp4"])
def test_a_new_mp4_in_a_folder_is_fine(tmp_path: Path, name: str) -> None:
    check_output(tmp_path / name, force=False)


def test_a_bare_name_goes_into_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_output(Path("clip.mp4"), force=False)
    write(Path("clip.mp4"))
    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_an_existing_output_needs_force(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_text("old")
    assert "exists; give --force to replace it, or another name" in misuse(tmp_path / "clip.mp4")
    check_output(tmp_path / "clip.mp4", force=True)


def test_a_missing_folder_is_told_with_the_command_that_makes_it(tmp_path: Path) -> None:
    words = misuse(tmp_path / "two words" / "clip.mp4")
    assert "does not exist; make it: mkdir -p '" in words and words.endswith("two words'")


def test_a_folder_as_output_is_told_with_a_name_in_it(tmp_path: Path) -> None:
    assert f"is a folder; name a file in it, as {tmp_path / 'video.mp4'}" in misuse(tmp_path)
    (tmp_path / "clip.mp4").mkdir()
    assert "is a folder" in misuse(tmp_path / "clip.mp4", force=True)
    for bare in (".", "..", "/"):
        assert "is a folder" in misuse(Path(bare))


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("a file")
    assert "is a file, so" in misuse(tmp_path / "notes" / "clip.mp4")


@pytest.mark.parametrize(
    ("name", "seen"), [("clip.avi", "ends in .avi"), ("clip", "has no ending")]
)
def test_another_ending_than_mp4_is_told(tmp_path: Path, name: str, seen: str) -> None:
    words = misuse(tmp_path / name)
    assert f"{seen}, and vasa writes MP4; name it {tmp_path / 'clip.mp4'}" in words


def test_a_read_only_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    assert "is read-only; name a folder you can write to" in misuse(tmp_path / "clip.mp4")


def test_a_name_too_long_for_the_partial_file_is_told(tmp_path: Path) -> None:
    for n_letters in (245, 300):
        words = misuse(tmp_path / f"{'x' * n_letters}.mp4")
        assert "cannot be used: File name too long; name another" in words


def test_the_last_step_sees_the_whole_file_before_it_bears_its_name(tmp_path: Path) -> None:
    output = tmp_path / "clip.mp4"
    seen: list[tuple[Path, int | None, bool]] = []

    def finish(path: Path) -> None:
        seen.append((path, probe(path, count_frames=True).n_frames, output.exists()))
        with path.open("ab") as opened:
            opened.write((8).to_bytes(4, "big") + b"free")

    write(output, finish=finish)
    ((path, n_frames, there),) = seen
    assert (path.parent, path.suffix, n_frames, there) == (tmp_path, ".mp4", 3, False)
    assert output.read_bytes().endswith(b"free")
    assert sum(1 for _ in read_video(output)) == 3


def test_a_last_step_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def finish(path: Path) -> None:
        raise ResourceError("no more room")

    assert failure(tmp_path / "clip.mp4", n_frames=3, finish=finish) == "no more room"


@pytest.mark.parametrize(("step", "n_expected"), [(1, 7), (2, 4), (3, 3), (7, 1), (50, 1)])
def test_every_so_many_frames_can_be_read(tmp_path: Path, step: int, n_expected: int) -> None:
    output = write(tmp_path / "clip.mp4", n_frames=7)
    every = list(read_video(output))
    some = list(read_video(output, step=step))
    assert len(some) == n_expected
    for seen, expected in zip(some, every[::step]):
        np.testing.assert_array_equal(seen, expected)
