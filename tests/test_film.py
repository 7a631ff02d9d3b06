"""Films in: constant rate, upright, standard colours, whatever the file is like."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.films import (
    SIDE,
    as_hdr,
    moved,
    nothing,
    photo,
    turned_by_phone,
    with_damage,
    write_film,
)
from tests.test_video import ffmpeg, tone
from vasa_cli.errors import InputError
from vasa_cli.film import frame_rate, open_film, packet_times
from vasa_cli.video import probe, read_video


def drifting(n_frames: int) -> list[np.ndarray]:
    return [moved(photo(), right=k) for k in range(n_frames)]


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    sound = tone(folder / "tone.wav", duration_s=1.2)
    return write_film(folder / "plain.mp4", drifting(30), sound=sound)


def test_a_plain_film_is_read_as_it_is(plain: Path) -> None:
    film = open_film(plain)
    assert (film.fps, film.size, film.is_hdr, film.warnings) == (25, (SIDE, SIDE), False, ())
    assert film.info.has_audio and film.n_expected == 30
    frames = list(film.frames())
    assert len(frames) == 30
    assert all(np.array_equal(a, b) for a, b in zip(frames, read_video(plain)))


def test_a_film_is_read_quickly_with_nearly_its_colours(plain: Path) -> None:
    film = open_film(plain)
    well, quick = (np.stack(list(film.frames(quickly=q))).astype(int) for q in (False, True))
    assert well.shape == quick.shape
    assert np.abs(well - quick).mean() < 2


def test_broadcast_rates_are_exact(tmp_path: Path) -> None:
    path = write_film(tmp_path / "f.mp4", drifting(8), fps=Fraction(30000, 1001))
    film = open_film(path)
    assert film.fps == Fraction(30000, 1001) and not film.warnings
    ffmpeg("-i", path, "-c", "copy", tmp_path / "f.mkv")  # its times are whole milliseconds
    film = open_film(tmp_path / "f.mkv")
    assert film.fps == Fraction(30000, 1001) and not film.warnings
    assert len(list(film.frames())) == 8


def test_a_variable_rate_becomes_constant_and_is_told(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "phone.mp4"
    slower = "setpts='if(lt(N,15),N/25,15/25+(N-15)*1.7/25)/TB'"
    ffmpeg("-i", plain, "-an", "-vf", slower, "-fps_mode", "vfr", "-enc_time_base", "1/90000", path)
    film = open_film(path)
    assert film.warnings == (
        "phone.mp4 has a variable frame rate; its frames are taken at 25 a second",
    )
    frames = list(film.frames())
    assert len(frames) == pytest.approx(15 + 15 * 1.7, abs=1.1)
    # what was shown at 0.96 s: 0.36 s after the fifteenth, of frames that last 68 ms
    assert mean_difference(frames[24], drifting(21)[20]) < 3


def test_a_film_with_lost_frames_keeps_time(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "lost.mp4"
    drop = ("-vf", "select='not(between(n,10,13))'", "-fps_mode", "vfr", "-an")
    ffmpeg("-i", plain, *drop, path)
    frames = list(open_film(path).frames())
    assert len(frames) == 30
    assert np.array_equal(frames[13], frames[9])
    assert mean_difference(frames[20], drifting(21)[20]) < 3


def test_a_film_from_a_turned_phone_is_upright(plain: Path, tmp_path: Path) -> None:
    film = open_film(turned_by_phone(plain, tmp_path / "turned.mp4"))
    frame = next(iter(film.frames()))
    assert mean_difference(frame, drifting(1)[0]) < 3


def test_a_turned_oblong_film_has_the_upright_size(tmp_path: Path) -> None:
    flat = write_film(tmp_path / "flat.mp4", [f[:128] for f in nothing(3)])
    film = open_film(turned_by_phone(flat, tmp_path / "turned.mp4"))
    assert film.size == (128, SIDE)
    small = next(iter(film.frames(longest_side=96)))
    assert small.shape == (64, 96, 3)


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_is_tone_mapped_and_told(plain: Path, tmp_path: Path, transfer: str) -> None:
    film = open_film(as_hdr(plain, tmp_path / "hdr.mp4", transfer))
    assert film.is_hdr
    assert film.warnings == ("hdr.mp4 is HDR; its colours are tone-mapped to BT.709",)
    frames = list(film.frames())
    assert len(frames) == 30
    true = drifting(1)[0].astype(float)
    flat = next(read_video(film.path)).astype(float)  # as it comes without tone mapping
    seen = frames[0].astype(float)
    assert np.abs(seen - true).mean() < 6 < np.abs(flat - true).mean()
    small = list(film.frames(n_frames=2, longest_side=SIDE // 2 + 1))  # an odd size
    assert small[0].shape == (SIDE // 2 + 1, SIDE // 2 + 1, 3)
    assert abs(small[0].mean() - seen.mean()) < 3


def test_4k_is_read_small_where_that_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "4k.mp4"
    source = ("-f", "lavfi", "-i", "testsrc2=s=3840x2160:d=0.12:r=25")
    ffmpeg(*source, "-c:v", "libx264", "-preset", "ultrafast", path)
    film = open_film(path)
    assert film.size == (2160, 3840)
    frames = list(film.frames(longest_side=960))
    assert [frame.shape for frame in frames] == [(540, 960, 3)] * 3


def test_a_film_without_sound_says_so(tmp_path: Path) -> None:
    assert not open_film(write_film(tmp_path / "mute.mp4", drifting(3))).info.has_audio


def test_damage_in_the_middle_is_passed_over_and_known(plain: Path, tmp_path: Path) -> None:
    film = open_film(with_damage(plain, tmp_path / "damaged.mp4", start=0.8, stop=0.9))
    frames = film.frames()
    read = list(frames)
    assert len(read) == pytest.approx(30, abs=2)
    assert frames.complaint
    assert mean_difference(read[2], drifting(3)[2]) < 3


def test_what_holds_no_frame_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(InputError, match="text.mp4 is not a video"):
        open_film(tmp_path / "text.mp4")
    with pytest.raises(InputError, match="does not exist"):
        open_film(tmp_path / "none.mp4")


def test_a_sound_is_no_film(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a video"):
        open_film(tone(tmp_path / "tone.wav"))


@pytest.mark.parametrize(
    ("times", "rate", "steady"),
    [
        (np.arange(50) / 24.98, Fraction(25), True),
        (np.rint(np.arange(50) / 29.97 * 1000) / 1000, Fraction(30000, 1001), True),
        (np.delete(np.arange(100) / 30, [40, 41]), Fraction(30), True),
        (np.cumsum(np.random.default_rng(0).uniform(0.02, 0.05, 99)), None, False),
        (np.arange(50) / 240, Fraction(120), True),
        (np.zeros(1), Fraction(25), True),
    ],
)
def test_rates_are_told_from_the_times_of_frames(
    plain: Path, times: np.ndarray, rate: Fraction | None, steady: bool
) -> None:
    from dataclasses import replace

    stated = replace(probe(plain), fps=Fraction(0))
    fps, found_steady = frame_rate(stated, times)
    assert found_steady == steady
    assert rate is None or abs(float(fps / rate) - 1) < 0.0011


@pytest.mark.parametrize("first", [1, 13, 29])
def test_reading_may_begin_anywhere(plain: Path, first: int) -> None:
    film = open_film(plain)
    whole, part = list(film.frames()), list(film.frames(first=first, n_frames=5))
    assert len(part) == min(5, 30 - first)
    assert all(np.array_equal(a, b) for a, b in zip(part, whole[first:]))


def test_reading_a_variable_rate_may_begin_anywhere(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "phone.mp4"
    slower = "setpts='if(lt(N,15),N/25,15/25+(N-15)*1.7/25)/TB'"
    long = ("-stream_loop", "2", "-i", plain, "-an", "-vf", slower)
    ffmpeg(*long, "-fps_mode", "vfr", "-enc_time_base", "1/90000", path)
    film = open_film(path)
    whole, part = list(film.frames()), list(film.frames(first=60, n_frames=9))
    assert len(part) == 9 and all(np.array_equal(a, b) for a, b in zip(part, whole[60:]))


def test_frames_come_in_any_order(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vasa_cli.film.BLOCK", 4)
    film = open_film(plain)
    whole = list(film.frames())
    order = [3, 3, 4, 6, 6, 5, 4, 3, 2, 1, 0, 0, 1, 9, 29, 31, 33]
    found = list(film.in_order(order))
    assert len(found) == len(order)
    assert all(np.array_equal(a, whole[min(k, 29)]) for a, k in zip(found, order))


def test_slow_motion_is_taken_at_the_highest_rate_there_is(tmp_path: Path) -> None:
    path = write_film(tmp_path / "slow.mp4", nothing(48), fps=Fraction(240))
    film = open_film(path)
    assert film.warnings == ("slow.mp4 has more frames a second than 120; so many are taken",)
    assert len(list(film.frames())) == 24


def test_packet_times_are_those_of_the_frames(plain: Path) -> None:
    assert np.allclose(np.diff(packet_times(plain)), 0.04)
