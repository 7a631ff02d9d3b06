"""Real speech with phone times: heard and aligned by pocketsphinx, as a pack of the speech corpus.

No transcripts are needed. Words are recognised with a language model first, then aligned phone by
phone; words whose posterior is low are left unlabelled, so that no loss is taken there. The
recogniser is English: give English speech. It needs the extra `align`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator, Protocol, Sequence

import numpy as np

from vasa_cli.audio import load_audio
from vasa_cli.config import SAMPLE_RATE
from vasa_cli.errors import InputError, UsageError
from vasa_cli.models.audio_encoder import SILENCE
from vasa_cli.training import speech_corpus
from vasa_cli.training.phones import ARPABET_CLASSES
from vasa_cli.training.speech_corpus import LABEL_HOP, UNKNOWN, fine_labels

FRAME = SAMPLE_RATE // 100  # samples of the recogniser's frames
# Posterior of a word from which its phones are believed. It is low for right words too, whose times
# or pronunciations compete; what is below is mostly wrong, though often near in sound.
SURE = 0.12
LONGEST_S = 40.0  # of an utterance; the recogniser's memory grows with it
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")
_SPAN = 80  # samples between the finest labels: 5 ms
_FILLERS = ("SIL", "<s>", "</s>", "<sil>")
Origin = dict[str, Any]


class Aligner(Protocol):
    """Says which phones are heard in samples (N,) int16 at 16 kHz, and how sure it is of them."""

    def __call__(self, samples: np.ndarray) -> list[tuple[str, int, int, float]]:
        """Symbols (ARPABET or SIL), first and last sample, and the posterior of their word."""
        ...


def sphinx() -> Aligner:
    """The recogniser with the English model of its own package.

    Raises: UsageError when it is not installed.
    """
    try:
        from pocketsphinx import Decoder
    except ImportError as error:
        raise UsageError(
            "aligning real speech needs pocketsphinx; python -m pip install 'vasa-cli[align]'"
        ) from error
    decoder = Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")

    def run(samples: np.ndarray) -> None:
        decoder.start_utt()
        decoder.process_raw(samples.tobytes(), no_search=False, full_utt=True)
        decoder.end_utt()

    def align(samples: np.ndarray) -> list[tuple[str, int, int, float]]:
        decoder.activate_search()
        run(samples)
        if decoder.hyp() is None or not decoder.hyp().hypstr.strip():
            return []
        sure = [float(s.prob) for s in decoder.seg() if s.word[0] not in "<["]
        decoder.set_align_text(decoder.hyp().hypstr)
        try:
            run(samples)
            decoder.set_alignment()
            run(samples)
            found, words = [], iter(sure)
            for word in decoder.get_alignment():
                is_filler = word.name in _FILLERS or word.name[0] in "<["
                posterior = 1.0 if word.name in _FILLERS else 0.0 if is_filler else next(words, 0.0)
                for phone in word:
                    first = phone.start * FRAME
                    last = first + phone.duration * FRAME
                    found.append((phone.name, first, last, posterior))
            return found
        except RuntimeError:  # the recogniser found no path through its own words
            return []

    return align


def label(samples: np.ndarray, phones: Sequence[tuple[str, int, int, float]]) -> np.ndarray:
    """Classes (N / LABEL_HOP,) of samples (N,), unknown where nothing is heard for sure."""
    starts: list[int] = [0]
    classes: list[tuple[int, ...]] = [(UNKNOWN,)]
    for name, first, last, posterior in phones:
        known = (SILENCE,) if name in _FILLERS else ARPABET_CLASSES.get(name.lower())
        starts.append(first)
        classes.append(known if known is not None and posterior >= SURE else (UNKNOWN,))
    starts.append(phones[-1][2] if phones else 0)
    fine = fine_labels(np.array(starts, np.float64), [*classes, (UNKNOWN,)], samples)
    return fine[LABEL_HOP // _SPAN // 2 :: LABEL_HOP // _SPAN]


def sounds(folder: Path) -> list[Path]:
    """All sound files under a folder.

    Raises: InputError when there is none.
    """
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        raise InputError(f"no sound in {folder}; give a folder with {', '.join(SUFFIXES)} files")
    return found


def speaker_of(path: Path) -> str:
    """Who speaks, where the name tells it as LibriSpeech's do, else the file itself."""
    name = path.stem.removeprefix("libri_")
    return name.split("-")[0] if name.count("-") == 2 else path.stem


def spoken(
    files: Sequence[Path], align: Aligner, report: Callable[[str], None]
) -> Iterator[tuple[np.ndarray, np.ndarray, Origin]]:
    """Samples, labels and origin of every file in which enough is heard for sure."""
    for k, path in enumerate(files):
        audio = load_audio(path, max_seconds=LONGEST_S)
        samples = speech_corpus.resample(np.asarray(audio.samples), audio.sample_rate)
        phones = align(samples)
        labels = label(samples, phones)
        labels = labels[: len(samples) // LABEL_HOP]
        known = (labels != UNKNOWN) & (labels != SILENCE)
        if k % 20 == 19:
            report(f"{k + 1} of {len(files)} sounds aligned")
        if known.mean() > 0.3:
            origin = {"engine": speech_corpus.REAL, "language": "en", "voice": speaker_of(path)}
            yield samples, labels, origin | {"text": path.stem}


def make(
    folder: Path, data: Path, *, report: Callable[[str], None], align: Aligner | None = None
) -> None:
    """Write the pack `real` of the speech under data, when it is not there yet.

    Raises: InputError when there is no speech, or none is understood; UsageError without the extra.
    """
    if (folder / speech_corpus.REAL).exists():
        return
    heard = list(spoken(sounds(data), align or sphinx(), report))
    if not heard:
        raise InputError(f"no English speech was understood in {data}")
    speech_corpus.write_pack(folder / speech_corpus.REAL, iter(heard), hours=float("inf"))
    report(f"{len(heard)} sounds of real speech: {folder / speech_corpus.REAL}")
