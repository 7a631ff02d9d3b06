"""Speech in: lengths, levels and pitches against closed forms and the wave module."""

from __future__ import annotations

import subprocess
import wave
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from vasa_cli import audio
from vasa_cli.audio import Audio, FFmpeg, frame_count, load_audio
from vasa_cli.errors import InputError, ResourceError, UsageError

TONE = ("-f", "lavfi", "-i", "sine=f=440:d=0.5:r=44100")
PATTERN = ("-f", "lavfi", "-i", "testsrc=s=96x80:d=0.5")


def ffmpeg(*arguments: str | Path) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments]
    subprocess.run([str(argument) for argument in command], check=True)


def write_wav(path: Path, channels: list[np.ndarray], sample_rate: int) -> Path:
    """Channels of (N,) floats in -1..1 as a 16-bit WAV."""
    samples = np.rint(np.stack(channels, -1) * 32767).astype("<i2")  # (N, C)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.tobytes())
    return path


def sine(duration_s: float, sample_rate: int, *, level: float = 0.5) -> np.ndarray:
    times = np.arange(round(duration_s * sample_rate)) / sample_rate
    return level * np.sin(2 * np.pi * 440 * times)


def peak_hz(sound: Audio) -> float:
    spectrum = np.abs(np.fft.rfft(sound.as_float() * np.hanning(len(sound.samples))))
    return float(np.argmax(spectrum)) * sound.sample_rate / len(sound.samples)


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_audio(path)
    assert caught.value.exit_code == 3
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_16_khz_mono_wav_comes_back_sample_for_sample(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "speech.wav", [sine(0.5, 16_000)], 16_000)
    loaded = load_audio(path)
    with wave.open(str(path)) as file:
        expected = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert loaded.samples.dtype == np.int16
    np.testing.assert_array_equal(loaded.samples, expected)
    assert (loaded.path, loaded.sample_rate, loaded.fault) == (path, 16_000, None)
    assert loaded.duration_s == 0.5


def test_8_khz_stereo_is_mixed_and_resampled(tmp_path: Path) -> None:
    silence = np.zeros(4000)
    loaded = load_audio(write_wav(tmp_path / "call.wav", [sine(0.5, 8000), silence], 8000))
    assert abs(len(loaded.samples) - 8000) <= 16
    # Half of one channel and half of the other, at the same times as before.
    inner = slice(800, 7200)
    expected = sine(0.5, 16_000, level=0.25)[inner]
    np.testing.assert_allclose(loaded.as_float()[inner], expected, atol=0.005)


@pytest.mark.parametrize("ending", ["wav", "mp3", "flac", "ogg", "m4a", "opus", "aac", "wma"])
def test_every_common_format_keeps_length_and_pitch(tmp_path: Path, ending: str) -> None:
    ffmpeg(*TONE, tmp_path / f"speech.{ending}")
    loaded = load_audio(tmp_path / f"speech.{ending}")
    assert abs(loaded.duration_s - 0.5) < 0.1  # coders pad to whole blocks
    assert abs(peak_hz(loaded) - 440) < 3
    assert loaded.fault is None and not loaded.is_silent


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm"])
def test_the_sound_of_a_video_is_taken(tmp_path: Path, ending: str) -> None:
    ffmpeg(*PATTERN, *TONE, tmp_path / f"clip.{ending}")
    assert abs(peak_hz(load_audio(tmp_path / f"clip.{ending}")) - 440) < 3


def test_cover_art_is_passed_over(tmp_path: Path) -> None:
    ffmpeg(*PATTERN, "-frames:v", "1", tmp_path / "cover.png")
    art = ("-map", "0", "-map", "1", "-c:v", "mjpeg", "-disposition:v", "attached_pic")
    ffmpeg(*TONE, "-i", tmp_path / "cover.png", *art, tmp_path / "song.mp3")
    assert abs(peak_hz(load_audio(tmp_path / "song.mp3")) - 440) < 3


def test_a_name_that_looks_like_an_option_or_address_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "-a:b %d.wav", [sine(0.5, 16_000)], 16_000)
    assert load_audio(Path("-a:b %d.wav")).duration_s == 0.5


def test_a_playlist_does_not_reach_the_network(tmp_path: Path) -> None:
    path = tmp_path / "speech.m3u8"
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/speech.ts\n#EXT-X-ENDLIST\n")
    assert "is not a sound that can be read" in refusal(path)


def test_max_seconds_cuts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MAX_SPEECH_S", 1.0)
    path = write_wav(tmp_path / "speech.wav", [sine(2.0, 16_000)], 16_000)
    np.testing.assert_array_equal(
        load_audio(path, max_seconds=0.25).as_float(),
        load_audio(path, max_seconds=0.75).as_float(0, 4000),
    )


def test_max_seconds_beyond_the_end_changes_nothing(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "speech.wav", [sine(0.5, 16_000)], 16_000)
    assert load_audio(path, max_seconds=60).duration_s == 0.5


def test_max_seconds_below_the_least_is_misuse(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "speech.wav", [sine(0.5, 16_000)], 16_000)
    with pytest.raises(UsageError, match="0.1 s of sound are too few; take 0.2 s") as caught:
        load_audio(path, max_seconds=0.1)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("level_db", "silent"), [(-200, True), (-66, True), (-54, False)])
def test_silence_is_told_at_60_decibels_below_full_scale(
    tmp_path: Path, level_db: float, silent: bool
) -> None:
    quiet = sine(0.5, 16_000, level=10 ** (level_db / 20))
    assert load_audio(write_wav(tmp_path / "quiet.wav", [quiet], 16_000)).is_silent is silent


def test_the_loudest_negative_sample_is_not_silence() -> None:
    assert not Audio(Path("click.wav"), np.array([0, -32768], np.int16)).is_silent


def test_floats_span_minus_one_to_one() -> None:
    sound = Audio(Path("ramp.wav"), np.array([-32768, -16384, 0, 32767], np.int16))
    floats = sound.as_float()
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats, [-1, -0.5, 0, 1], atol=1 / 32768)
    np.testing.assert_array_equal(sound.as_float(1, 3), floats[1:3])
    assert len(sound.as_float(2, 100)) == 2


@pytest.mark.parametrize(
    ("n_samples", "fps", "n_frames"),
    [
        (16_000, Fraction(25), 25),
        (16_000 * 10, Fraction(30000, 1001), 300),  # 299.7
        (16_000 * 3600, Fraction(60), 216_000),
        (16_000 * 3600, Fraction(30000, 1001), 107_892),  # 107892.1
        (959, Fraction(25), 1),  # 1.498
        (961, Fraction(25), 2),  # 1.502
        (1, Fraction(24), 1),
    ],
)
def test_frames_are_counted_to_the_nearest(n_samples: int, fps: Fraction, n_frames: int) -> None:
    assert frame_count(n_samples, 16_000, fps) == n_frames


def test_a_damaged_sound_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    ffmpeg(*TONE, tmp_path / "speech.flac")
    data = bytearray((tmp_path / "speech.flac").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = b"\x55" * 400
    (tmp_path / "speech.flac").write_bytes(data)
    loaded = load_audio(tmp_path / "speech.flac")
    assert loaded.duration_s > 0.2
    assert loaded.fault is not None and "\n" not in loaded.fault
    assert f"sound {tmp_path / 'speech.flac'} is damaged (" in loaded.fault
    assert f"read {loaded.duration_s:.2f} s" in loaded.fault


def test_a_sound_cut_off_before_its_index_is_refused(tmp_path: Path) -> None:
    ffmpeg(*TONE, tmp_path / "speech.m4a")
    data = (tmp_path / "speech.m4a").read_bytes()
    (tmp_path / "speech.m4a").write_bytes(data[: len(data) // 2])
    assert "is not a sound that can be read (moov atom not found)" in refusal(
        tmp_path / "speech.m4a"
    )


def test_a_sound_of_which_nothing_decodes_is_refused(tmp_path: Path) -> None:
    ffmpeg(*TONE, tmp_path / "speech.m4a")
    data = bytearray((tmp_path / "speech.m4a").read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[start:end] = b"\x55" * (end - start)
    (tmp_path / "speech.m4a").write_bytes(data)
    words = refusal(tmp_path / "speech.m4a")
    assert "is damaged (" in words and words.endswith("copy or export it again")


def test_a_missing_sound_is_refused(tmp_path: Path) -> None:
    assert "does not exist; check its name" in refusal(tmp_path / "speech.wav")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder; give a sound file in it" in refusal(tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "speech.wav").touch()
    assert "is empty (0 bytes)" in refusal(tmp_path / "speech.wav")


@pytest.mark.parametrize("name", ["notes.txt", "notes.wav"])
def test_text_is_not_a_sound(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("not a sound at all\n" * 20)
    assert "is not a sound that can be read" in refusal(tmp_path / name)


def test_a_picture_has_no_sound_track(tmp_path: Path) -> None:
    ffmpeg(*PATTERN, "-frames:v", "1", tmp_path / "photo.png")
    assert "has no sound track; give a sound file" in refusal(tmp_path / "photo.png")


def test_a_mute_video_has_no_sound_track(tmp_path: Path) -> None:
    ffmpeg(*PATTERN, tmp_path / "clip.mp4")
    assert "has no sound track; give a sound file" in refusal(tmp_path / "clip.mp4")


def test_zero_length_is_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "speech.wav", [np.zeros(0)], 16_000)
    assert "is of zero length; record or export it again" in refusal(path)


def test_a_tenth_of_a_second_is_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "speech.wav", [sine(0.1, 16_000)], 16_000)
    assert "lasts 0.10 s; at least 0.2 s are needed" in refusal(path)


def test_the_least_and_the_most_length_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "MAX_SPEECH_S", 0.5)
    for duration_s in (0.2, 0.5):
        path = write_wav(tmp_path / "speech.wav", [sine(duration_s, 16_000)], 16_000)
        assert load_audio(path).duration_s == duration_s


def test_one_sample_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MAX_SPEECH_S", 0.5)
    path = write_wav(tmp_path / "speech.wav", [np.zeros(8001)], 16_000)
    assert "is longer than 0.5 s; cut it, or render a preview" in refusal(path)


def test_a_missing_ffmpeg_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_wav(tmp_path / "speech.wav", [sine(0.5, 16_000)], 16_000)

    def find_none() -> str:
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", find_none)
    with pytest.raises(ResourceError, match="reinstall imageio-ffmpeg") as caught:
        load_audio(path)
    assert caught.value.exit_code == 5


def test_an_ffmpeg_that_does_not_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    with pytest.raises(ResourceError, match="ffmpeg cannot be started .*/nowhere/ffmpeg"):
        FFmpeg(["-version"])


def test_leaving_the_block_ends_ffmpeg() -> None:
    endless = ["-v", "error", "-re", "-f", "lavfi", "-i", "anullsrc", "-f", "null", "-"]
    with FFmpeg(endless) as running:
        pass
    assert running.wait() < 0  # by a signal


def test_messages_are_drained_however_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = tmp_path / "ffmpeg"
    stub.write_text("#!/bin/sh\nseq 200000 1>&2\nexit 3\n")  # far more than a pipe holds
    stub.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(stub))
    with FFmpeg([]) as chatty:
        assert chatty.wait(timeout_s=30) == 3
        assert chatty.messages.endswith("\n200000")
