"""Lips at known phones: made-up mouths of which the figures are known, and the speech itself."""

from __future__ import annotations

import ctypes.util
from fractions import Fraction

import numpy as np
import pytest

from vasa_cli.models.audio_encoder import CLASSES, N_CLASSES, SILENCE
from vasa_cli.motion_figures import Face
from vasa_cli.spoken_figures import (
    closures,
    frames,
    lip_to_teeth,
    openings_at_vowels,
    rest_in_pauses,
    runs,
    width_follows,
)
from vasa_cli.training.speech_corpus import LABEL_HOP

needs_espeak = pytest.mark.skipif(
    ctypes.util.find_library("espeak-ng") is None, reason="espeak-ng is not installed"
)
# "pa fi, wo pi": each phone is five labels long, which is two and a half frames
WORD = ("bilabial", "open", "labiodental", "close_front", "labial_glide", "mid_rounded")


def labels(*names: str, n_each: int = 10) -> np.ndarray:
    return np.repeat([CLASSES.index(name) for name in names], n_each).astype(np.uint8)


def face(opening: np.ndarray, width: np.ndarray | None = None) -> Face:
    n = len(opening)
    zeros = np.zeros(n)
    width = zeros if width is None else width
    turns = np.zeros((n, 3))
    return Face(Fraction(25), opening, width, opening * 0.8, zeros + 1, zeros, turns[:, :2], turns)


def mouth(said: np.ndarray, values: dict[str, float], default: float) -> np.ndarray:
    """A value for every frame of 25 a second, of the class in its middle."""
    middle = said[1::2]
    return np.array([values.get(CLASSES[k], default) for k in middle])


def test_runs_are_the_phones_of_a_kind_in_order() -> None:
    said = labels(*WORD, "bilabial", "alveolar_nasal")
    assert runs(said, ("bilabial",)) == [(0, 10), (60, 70)]
    assert runs(said, ("labial_glide", "mid_rounded")) == [(40, 50), (50, 60)]
    assert runs(np.full(9, 255, np.uint8), ("bilabial",)) == []


@pytest.mark.parametrize(
    ("run", "margin", "expected"),
    [((0, 10), 0, (0, 5)), ((10, 11), 0, (5, 6)), ((12, 16), 1, (5, 9)), ((98, 100), 1, (48, 51))],
)
def test_labels_become_the_frames_at_their_time(
    run: tuple[int, int], margin: int, expected: tuple[int, int]
) -> None:
    found = frames(face(np.ones(50)), run, margin)
    assert (found.start, found.stop) == expected


def test_a_mouth_that_shuts_at_every_bilabial_is_seen_to() -> None:
    said = labels(*WORD, *WORD)
    shutting = face(mouth(said, {"bilabial": 0.01, "open": 0.1}, 0.05))
    assert closures(shutting, said) == pytest.approx([0.1, 0.1])
    assert openings_at_vowels(shutting, said) == pytest.approx([1, 1])
    never = face(mouth(said, {"open": 0.1}, 0.05))
    assert closures(never, said) == pytest.approx([0.5, 0.5])


def test_open_vowels_are_looked_at_in_their_middle() -> None:
    said = labels("bilabial", "open", "bilabial")
    opening = np.zeros(15)
    opening[6:9] = 0.1  # the vowel is in frames 5 to 9: its neighbours shut its ends
    assert openings_at_vowels(face(opening), said) == pytest.approx([1])
    opening[7] = 0.01
    assert openings_at_vowels(face(opening), said) == pytest.approx([0.1])


def test_a_closure_a_frame_late_counts_and_two_frames_late_does_not() -> None:
    said = labels("open", "bilabial", "open")
    opening = np.full(15, 0.1)
    opening[10] = 0.0  # the bilabial is in frames 5 to 9
    assert closures(face(opening), said) == pytest.approx([0])
    assert closures(face(np.roll(opening, 1)), said) == pytest.approx([1])


def test_lower_lip_at_f_and_v() -> None:
    said = labels("open", "labiodental", "open")
    up = face(mouth(said, {"labiodental": 0.02}, 0.1))
    assert lip_to_teeth(up, said) == pytest.approx([0.2])


def test_width_follows_spread_and_rounded_vowels() -> None:
    said = labels(*("close_front", "close_rounded") * 4)
    right = mouth(said, {"close_front": 0.02, "close_rounded": -0.03}, 0.0)
    assert width_follows(face(right, right), said) == pytest.approx(1)
    assert width_follows(face(right, -right), said) == pytest.approx(-1)
    assert np.isnan(width_follows(face(right, right), labels("close_front", "close_rounded")))


def test_pauses_are_looked_at_without_their_ends() -> None:
    said = np.concatenate([labels("open"), labels("silence", n_each=50), labels("open")])
    opening = np.ones(35)
    opening[5 + 7 : 30 - 5] = 0.25  # till 0.3 s after speech and 0.2 s before it the mouth is open
    assert rest_in_pauses(face(opening), said) == pytest.approx(np.full(13, 0.25))
    short = np.concatenate([labels("open"), labels("silence", n_each=20), labels("open")])
    assert len(rest_in_pauses(face(np.ones(20)), short)) == 0


@needs_espeak
@pytest.mark.parametrize("kind", ["plain", "child", "singing"])
def test_phones_keep_to_the_sound_in_every_manner(kind: str) -> None:
    from vasa_cli.training import spoken

    said = spoken._say("Papa, bob a map.", "en", "")
    change = {"plain": lambda *x: x, "child": spoken._quicker, "singing": spoken._stretched}[kind]
    made = spoken._spoken([change(*said)], "test")
    length = {"plain": 1, "child": 1 / 1.3, "singing": 3}[kind]
    n_pauses = 2 * round(spoken.PAUSE_S * 50)
    assert len(made.labels) - n_pauses == pytest.approx(length * len(said[1]), abs=1)
    assert len(made.audio.samples) == len(made.labels) * LABEL_HOP
    power = (made.audio.samples.astype(float) ** 2).reshape(-1, LABEL_HOP).mean(1)
    vowels = (made.labels >= CLASSES.index("open")) & (made.labels < N_CLASSES)
    shut = made.labels == CLASSES.index("bilabial")
    assert len(runs(made.labels, ("bilabial",))) == 6
    assert np.median(power[shut]) < 0.1 * np.median(power[vowels])
    assert np.median(power[made.labels == SILENCE]) < 1e-3 * np.median(power[vowels])


@needs_espeak
def test_every_language_has_the_phones_that_are_measured() -> None:
    from vasa_cli.training.spoken import LANGUAGES, languages

    found = {speech.kind: speech for speech in languages()}
    assert set(found) == set(LANGUAGES)
    for speech in found.values():
        assert len(runs(speech.labels, ("bilabial",))) >= 15
        assert len(runs(speech.labels, ("labiodental",))) >= 5
        assert speech.audio.duration_s == pytest.approx(len(speech.labels) / 50)
