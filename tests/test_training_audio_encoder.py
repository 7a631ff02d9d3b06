"""The synthetic speech, its labels and their times, and a few steps of training."""

from __future__ import annotations

import ctypes.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from vasa_cli.errors import InputError
from vasa_cli.models.audio_encoder import CLASSES, SILENCE, AudioEncoder
from vasa_cli.training import speech_corpus
from vasa_cli.training.audio_encoder import (
    GROUPS,
    Sampler,
    class_weights,
    loss_of,
    run_training,
)
from vasa_cli.training.espeak import espeak
from vasa_cli.training.loop import Run
from vasa_cli.training.phones import ipa_classes
from vasa_cli.training.sentences import sentence
from vasa_cli.training.sound_augment import CROP_LABELS, Sounds, respeed
from vasa_cli.training.speech_corpus import LABEL_HOP, UNKNOWN, Line, Pack

needs_espeak = pytest.mark.skipif(
    ctypes.util.find_library("espeak-ng") is None, reason="espeak-ng is not installed"
)
needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


def names(classes: tuple[int, ...] | None) -> list[str]:
    assert classes is not None
    return [CLASSES[k] for k in classes]


def speak(text: str, language: str = "en", rate: int = 150) -> tuple[np.ndarray, np.ndarray]:
    manner = {"rate": rate, "pitch": 50, "pitch_range": 50}
    return speech_corpus.label(espeak().speak(text, language=language, **manner))


@pytest.fixture
def pack() -> Pack:
    """Two minutes of noise with labels, spoken by six speakers."""
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(0, len(CLASSES), 1000), 6).astype(np.uint8)
    samples = rng.normal(size=len(labels) * LABEL_HOP) * np.repeat(labels, LABEL_HOP) * 100
    lines = [
        Line(start=1000 * k, n_labels=1000, engine="espeak", language="de", voice=v, text=str(k))
        for k, v in enumerate(["f1", "f2", "f3", "f4", "m1", "m5"])
    ]
    return Pack(samples.astype(np.int16), labels, tuple(lines))


@pytest.mark.parametrize(
    ("phone", "expected"),
    [
        ("p", ["bilabial"]),
        ("pʰ", ["bilabial"]),
        ("aɪ", ["open", "close_front"]),
        ("iː", ["close_front", "close_front"]),
        ("tʃ", ["alveolar_stop", "postalveolar"]),
        ("ɛ̃", ["open_front"]),
        ("ç", ["velar"]),
        ("n̩", ["alveolar_nasal"]),
        ("", ["silence"]),
    ],
)
def test_phones_pass_through_their_classes(phone: str, expected: list[str]) -> None:
    assert names(ipa_classes(phone)) == expected


def test_a_symbol_that_is_not_in_the_table_is_said_so() -> None:
    assert ipa_classes("☃") is None


def test_every_class_is_in_one_group() -> None:
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(CLASSES)


@needs_espeak
def test_every_phone_of_every_language_is_in_the_table() -> None:
    rng = np.random.default_rng(0)
    speaker, unknown, n_phones = espeak(), [], 0
    languages = [code for code in speaker.languages() if code != "chr"][::3]
    for language in languages:
        text = sentence(rng, language)
        spoken = speaker.speak(text, language=language, rate=200, pitch=50, pitch_range=50)
        phones = [phone for phone in spoken.phones if not phone.startswith("(")]
        unknown += [(language, phone) for phone in phones if ipa_classes(phone) is None]
        n_phones += len(phones)
    assert len(languages) >= 40
    assert len(unknown) < 0.002 * n_phones, unknown


@needs_espeak
def test_labels_agree_with_the_energy_of_the_sound() -> None:
    samples, labels = speak("Papa, bob a map. Toto, do it at a dot.", rate=120)
    assert len(samples) == len(labels) * LABEL_HOP
    energy = np.sqrt((samples.astype(float) ** 2).reshape(-1, LABEL_HOP).mean(1))
    vowels = energy[(labels >= CLASSES.index("open")) & (labels != UNKNOWN)]
    assert np.quantile(energy[labels == SILENCE], 0.9) < 0.05 * np.median(vowels)
    assert np.median(energy[labels == CLASSES.index("bilabial")]) < 0.3 * np.median(vowels)
    assert np.quantile(vowels, 0.1) > 0.1 * np.median(vowels)


@needs_espeak
def test_a_stop_begins_with_its_closure() -> None:
    samples, labels = speak("[[a:pa:pa:]]", rate=100)
    energy = np.sqrt((samples.astype(float) ** 2).reshape(-1, LABEL_HOP).mean(1))
    inner = slice(10, -15)
    quiet = energy[inner] < 0.02 * energy.max()
    assert quiet.any()
    assert np.all(np.isin(labels[inner][quiet], [CLASSES.index("bilabial"), SILENCE, UNKNOWN]))


@needs_espeak
def test_an_unknown_voice_is_refused() -> None:
    with pytest.raises(InputError, match="no voice xx-nowhere"):
        espeak().speak("a", language="xx-nowhere", rate=150, pitch=50, pitch_range=50)


@needs_flite
def test_flite_says_when_its_phones_are() -> None:
    samples, labels = speech_corpus.flite("my baby pays papa", "kal16", stretch=1.2)
    energy = np.sqrt((samples.astype(float) ** 2).reshape(-1, LABEL_HOP).mean(1))
    assert len(samples) == len(labels) * LABEL_HOP
    open_vowels = energy[labels == CLASSES.index("open")]
    assert np.median(energy[labels == SILENCE]) < 0.1 * np.median(open_vowels)


@needs_espeak
def test_a_pack_is_read_as_it_was_written(tmp_path: Path) -> None:
    spoken = []
    for k, text in enumerate(["one two three", "four five six"]):
        origin = {"engine": "espeak", "language": "en", "voice": f"m{k}", "text": text}
        spoken.append((*speak(text), origin))
    speech_corpus.write_pack(tmp_path / "espeak", spoken, hours=1)
    (pack,) = speech_corpus.load(tmp_path)
    assert [line.text for line in pack.lines] == ["one two three", "four five six"]
    for line, (samples, labels, _) in zip(pack.lines, spoken):
        wave, classes = pack.cut(line, 0, 10_000)
        np.testing.assert_array_equal(wave, samples)
        np.testing.assert_array_equal(classes, labels)
    assert json.loads((tmp_path / "espeak" / "index.json").read_text())[1]["voice"] == "m1"


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make the corpus first"):
        speech_corpus.load(tmp_path)


def test_what_is_held_out_never_changes_and_is_never_trained_on() -> None:
    def split(**origin: str) -> str:
        usual = {"engine": "espeak", "language": "de", "voice": "f1", "text": "a"}
        return Line(start=0, n_labels=1, **(usual | origin)).split

    assert split() == "train"
    assert split(language="es") == split(language="tr") == "language"
    assert split(voice="m1") == split(voice="grandpa") == "voice"
    assert split(engine="flite", voice="kal16") == "engine"
    assert split(engine="flite", voice="slt") == "voice"
    assert split(engine="flite", voice="awb") == "train"


def test_hard_sound_keeps_its_shape_and_rests_are_silent(pack: Pack) -> None:
    source, labels = Sampler([pack], "train").draw(16)
    torch.manual_seed(1)
    sounds = Sounds(n_rooms=2, n_pieces=2)
    before = source.clone()
    mels, hard = sounds.hard(source, labels)
    assert mels.shape == (16, 2 * CROP_LABELS, 64) and hard.shape == (16, CROP_LABELS)
    assert torch.isfinite(mels).all() and mels.min() >= 0
    assert torch.equal(source, before)
    known = hard[hard != UNKNOWN]
    assert known.max() < len(CLASSES)


def test_labels_keep_to_the_sound_at_any_speed() -> None:
    torch.manual_seed(0)
    labels = torch.zeros(8, 250, dtype=torch.int64)
    labels[:, 60:90] = 5
    wave = (labels == 5).float().repeat_interleave(LABEL_HOP, 1)
    wave, labels = respeed(wave, labels)
    loud = wave.view(8, CROP_LABELS, LABEL_HOP).mean(2) > 0.5
    assert ((labels == 5) != loud).sum(1).max() <= 2  # the two edges


def test_a_small_batch_can_be_learnt(pack: Pack) -> None:
    torch.manual_seed(0)
    source, labels = Sampler([pack], "train").draw(4)
    mels, labels = Sounds(n_rooms=2, n_pieces=2).hard(source, labels)
    model, weight = AudioEncoder(width=32), class_weights([pack])
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        loss = loss_of(model(mels), labels, weight)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_training_logs_resumes_and_reports_what_is_held_out(tmp_path: Path, pack: Pack) -> None:
    run = Run(tmp_path, minutes=60, max_steps=2)
    model = run_training(run, [pack], batch=2, width=16)
    assert isinstance(model, AudioEncoder)
    again = Run(tmp_path, minutes=60, max_steps=3)
    run_training(again, [pack], batch=2, width=16)
    assert again.step == 3
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    figures = json.loads(lines[-1])
    assert figures["step"] == 3
    assert {"voice_class", "voice_group", "voice_hard_group"} <= set(figures)
    assert all(0 <= figures[name] <= 1 for name in figures if name.startswith("voice"))
