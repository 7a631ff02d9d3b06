"""Real speech to labels: what a recogniser is sure of, and what it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from vasa_cli.cli.main import main
from vasa_cli.config import SAMPLE_RATE
from vasa_cli.errors import InputError
from vasa_cli.models.audio_encoder import CLASSES, SILENCE
from vasa_cli.training import alignment, speech_corpus
from vasa_cli.training.alignment import SURE, label, speaker_of
from vasa_cli.training.audio_encoder import Sampler
from vasa_cli.training.speech_corpus import LABEL_HOP, UNKNOWN, Line

EXAMPLE = Path(__file__).parent.parent / "examples" / "speech.wav"
HEARD = [
    ("SIL", 0, 3200, 1.0),
    ("B", 3200, 4800, 1.0),
    ("AA", 4800, 9600, 1.0),
    ("M", 9600, 11200, SURE / 2),
    ("+NOISE+", 11200, 12800, 1.0),
    ("AW", 12800, 16000, 1.0),
]


def loud(seconds: float = 1.2) -> np.ndarray:
    """A tone after 0.2 s of silence, (N,) int16."""
    samples = np.sin(np.arange(round(seconds * SAMPLE_RATE)) * 0.05) * 8000
    samples[:3200] = 0
    return samples.astype(np.int16)


def test_phones_become_classes_at_their_times() -> None:
    labels = label(loud(), HEARD)
    assert len(labels) == 60
    assert (labels[1:9] == SILENCE).all()
    assert (labels[10:14] == CLASSES.index("bilabial")).all()
    assert (labels[16:29] == CLASSES.index("open")).all()
    assert (labels[41:44] == CLASSES.index("open")).all()  # a diphthong passes through two
    assert (labels[46:49] == CLASSES.index("close_rounded")).all()


def test_what_is_unsure_or_no_phone_or_beyond_the_end_is_unknown() -> None:
    labels = label(loud(), HEARD)
    assert (labels[31:34] == UNKNOWN).all()  # an unsure word
    assert (labels[36:39] == UNKNOWN).all()  # a noise
    assert (labels[51:] == UNKNOWN).all()
    assert (label(loud(), []) == UNKNOWN).all()


def test_a_pack_holds_what_was_understood_by_speaker(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("libri_12-3-0", "libri_45-6-0", "mumbled"):
        soundfile.write(data / f"{name}.wav", loud(), SAMPLE_RATE)
    answers = iter([HEARD, HEARD, []])
    alignment.make(tmp_path / "speech", data, report=lambda _: None, align=lambda _: next(answers))
    (pack,) = speech_corpus.load(tmp_path / "speech")
    assert [(line.voice, line.engine) for line in pack.lines] == [("12", "real"), ("45", "real")]
    samples, labels = pack.cut(pack.lines[1], 0, 1000)
    assert len(samples) == len(labels) * LABEL_HOP == len(loud())
    np.testing.assert_array_equal(labels, label(loud(), HEARD))
    alignment.make(tmp_path / "speech", data, report=lambda _: None)  # it is there: not again


def test_nothing_to_hear_or_to_understand_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sound in"):
        alignment.make(tmp_path / "speech", tmp_path, report=lambda _: None)
    soundfile.write(tmp_path / "a.wav", loud(), SAMPLE_RATE)
    with pytest.raises(InputError, match="no English speech was understood"):
        alignment.make(tmp_path / "speech", tmp_path, report=lambda _: None, align=lambda _: [])
    assert not (tmp_path / "speech").exists()


def test_people_are_kept_out_by_who_they_are() -> None:
    def split(voice: str, text: str) -> str:
        return Line(0, 1, engine="real", language="en", voice=voice, text=text).split

    splits = {str(k): {split(str(k), t) for t in ("a", "b", "c")} for k in range(90)}
    assert all(len(found) == 1 for found in splits.values())
    kept_out = [k for k, found in splits.items() if found == {"speaker"}]
    assert 3 <= len(kept_out) <= 25
    assert set().union(*splits.values()) == {"speaker", "train"}


def test_names_tell_speakers() -> None:
    assert speaker_of(Path("libri_1034-121119-0000.opus")) == "1034"
    assert speaker_of(Path("my-memo.wav")) == "my-memo"


def test_people_are_drawn_as_often_as_they_should_be(tmp_path: Path) -> None:
    for engine, n in (("espeak", 30), ("real", 3)):
        origin = {"engine": engine, "language": "de", "voice": "f1", "text": "a"}
        spoken = [(loud(), np.full(60, 5, np.uint8), origin)] * n
        speech_corpus.write_pack(tmp_path / engine, iter(spoken), hours=1)
    sampler = Sampler(speech_corpus.load(tmp_path), "train")
    drawn = [sampler._pick()[1].engine for _ in range(400)]
    assert drawn.count("real") / 400 == pytest.approx(0.35 / 0.85, abs=0.08)


def test_without_the_recogniser_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", loud(), SAMPLE_RATE)
    monkeypatch.setitem(__import__("sys").modules, "pocketsphinx", None)
    monkeypatch.setattr(speech_corpus, "make", lambda *_, **__: None)
    options = ["--data", str(tmp_path), "--speech", str(tmp_path), "--cache", str(tmp_path / "c")]
    result = CliRunner().invoke(main, ["train", "audio-encoder", *options])
    assert result.exit_code == 2
    assert "vasa-cli[align]" in result.output


def test_english_is_understood() -> None:
    """The example's own speech, by the recogniser itself."""
    pytest.importorskip("pocketsphinx")
    import librosa

    samples, rate = librosa.load(EXAMPLE, sr=SAMPLE_RATE)
    heard = alignment.sphinx()((samples * 32767).astype(np.int16)[: 4 * rate])
    labels = label((samples * 32767).astype(np.int16)[: 4 * rate], heard)
    known = (labels != UNKNOWN) & (labels != SILENCE)
    assert known.mean() > 0.2
    assert len(np.unique(labels[known])) > 4
