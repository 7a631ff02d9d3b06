"""Synthetic speech whose phones and their times are known, as packs of samples and 50 Hz labels.

A pack is a folder: samples.npy (N,) int16 at 16 kHz, labels.npy (N / 320,) uint8, index.json with
a line an utterance. A corpus is a folder of packs: real speech, labelled elsewhere, is one more.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import tempfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator

import numpy as np

from vasa_cli.config import SAMPLE_RATE
from vasa_cli.errors import InputError
from vasa_cli.models.audio_encoder import CLASSES, SILENCE
from vasa_cli.training.espeak import Utterance, espeak, variants
from vasa_cli.training.phones import ARPABET_CLASSES, ipa_classes
from vasa_cli.training.sentences import SENTENCES, sentence, word

LABEL_HOP = 320  # samples
PACK_HOURS = 0.3
UNKNOWN = 255  # no loss there
REAL = "real"  # the engine of people, see `alignment`
FLITE_VOICES = ("slt", "rms", "awb", "kal16")
# Never trained on: the only diphone engine, and one statistical voice; the hash adds others.
HELD_OUT_FLITE = ("kal16", "slt")
SPLITS = ("train", "voice", "language", "text", "engine", "speaker")
_SPAN = 80  # samples between the finest label marks: 5 ms
_CLOSURE_DB = 15.0  # a stop's closure is so far below the sound before it
_CLOSURE_S = 0.09
_SILENT_DB = -38.0  # below the utterance's loudest; what is louder and has no phone is unknown
_STOPS = tuple(CLASSES.index(name) for name in ("bilabial", "alveolar_stop", "velar"))


@dataclass(frozen=True)
class Line:
    """One utterance of a pack."""

    start: int  # first label; the first sample is start * LABEL_HOP
    n_labels: int
    engine: str
    language: str
    voice: str
    text: str

    @property
    def split(self) -> str:
        """What this utterance is for: one of SPLITS, by hash, so that it never changes."""
        if self.engine == REAL:
            return "speaker" if _hash(self.voice) % 9 == 0 else "train"
        if self.engine == "flite" and self.voice in HELD_OUT_FLITE:
            return "engine" if self.voice == "kal16" else "voice"
        if self.engine == "espeak" and _hash(self.language) % 9 == 0:
            return "language"
        if self.engine == "espeak" and self.voice and _hash(self.voice) % 9 == 0:
            return "voice"
        return "text" if _hash(self.text) % 20 == 0 else "train"


@dataclass(frozen=True, eq=False)
class Pack:
    """Speech of one origin, memory-mapped."""

    samples: np.ndarray  # (N,) int16
    labels: np.ndarray  # (N / LABEL_HOP,) uint8
    lines: tuple[Line, ...]

    def cut(self, line: Line, start: int, n_labels: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples and labels of a part of an utterance; both end where it ends."""
        first = line.start + start
        last = min(line.start + line.n_labels, first + n_labels)
        return self.samples[first * LABEL_HOP : last * LABEL_HOP], self.labels[first:last]


def make(folder: Path, *, hours: float, seed: int = 0, report: Callable[[str], None]) -> None:
    """Write the packs that are not there yet, every fourth of flite; two are enough to begin."""
    n_packs = max(2, math.ceil(hours / PACK_HOURS))
    for k in range(n_packs):
        engine, speak = ("flite", speak_flite) if k % 4 == 1 else ("espeak", speak_espeak)
        target = folder / f"{engine}{k}"
        if not target.exists():
            rng = np.random.default_rng(seed + k)
            write_pack(target, speak(rng), hours=hours / n_packs / (2 if engine == "flite" else 1))
            report(f"pack {k + 1} of {n_packs}: {target}")


def write_pack(
    folder: Path, spoken: Iterable[tuple[np.ndarray, np.ndarray, dict[str, Any]]], *, hours: float
) -> None:
    """Gather utterances, (samples, labels, origin), until there are so many hours or no more."""
    samples, labels, lines, n_labels = [], [], [], 0
    for wave, classes, origin in spoken:
        lines.append(Line(start=n_labels, n_labels=len(classes), **origin))
        samples.append(wave)
        labels.append(classes)
        n_labels += len(classes)
        if n_labels * LABEL_HOP >= hours * 3600 * SAMPLE_RATE:
            break
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    np.save(partial / "samples.npy", np.concatenate(samples))
    np.save(partial / "labels.npy", np.concatenate(labels))
    index = json.dumps([asdict(line) for line in lines], ensure_ascii=False)
    (partial / "index.json").write_text(index, encoding="utf-8")
    partial.rename(folder)


def load(folder: Path) -> list[Pack]:
    """All packs of a corpus.

    Raises:
        InputError: there is none.
    """
    found = sorted(path.parent for path in folder.glob("*/index.json") if path.parent.suffix == "")
    if not found:
        raise InputError(f"no speech in {folder}; make the corpus first")
    packs = []
    for path in found:
        lines = json.loads((path / "index.json").read_text(encoding="utf-8"))
        samples, labels = (np.load(path / f"{n}.npy", mmap_mode="r") for n in ("samples", "labels"))
        packs.append(Pack(samples, labels, tuple(Line(**line) for line in lines)))
    return packs


def speak_espeak(
    rng: np.random.Generator,
) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, Any]]]:
    """Endless speech in all languages and voices, with labels and origin."""
    speaker, voices, languages = espeak(), variants(), espeak().languages()
    while True:
        language = str(rng.choice(languages))
        kind = rng.random()
        if kind < 0.25:  # written sentences are few
            language = str(rng.choice([code for code in languages if code in SENTENCES]))
        elif kind < 0.4:  # the one language whose every phone can be asked for
            language = "en"
        voice = str(rng.choice(voices))
        # A voice is costly to load: let it say a few things.
        for _ in range(4):
            text = sentence(rng, language)
            manner = {"rate": int(rng.triangular(80, 165, 270)), "pitch": int(rng.integers(5, 96))}
            manner["pitch_range"] = int(rng.integers(0, 100))
            try:
                spoken = speaker.speak(text, language=language, variant=voice, **manner)
            except InputError:
                break
            if 0.5 * spoken.sample_rate < len(spoken.samples) < 20 * spoken.sample_rate:
                origin = {"engine": "espeak", "language": language, "voice": voice, "text": text}
                yield *label(spoken), origin


def label(spoken: Utterance) -> tuple[np.ndarray, np.ndarray]:
    """eSpeak's speech at 16 kHz, (N,) int16, and its labels, (N / LABEL_HOP,) uint8."""
    samples = resample(spoken.samples, spoken.sample_rate)
    named = [k for k, phone in enumerate(spoken.phones) if not phone.startswith("(")]  # "(en)"
    starts = spoken.starts[named] * (SAMPLE_RATE / spoken.sample_rate)
    phones = [ipa_classes(spoken.phones[k]) for k in named]
    fine = fine_labels(starts, [(UNKNOWN,) if p is None else p for p in phones], samples)
    return samples, fine[LABEL_HOP // _SPAN // 2 :: LABEL_HOP // _SPAN]


def fine_labels(
    starts: np.ndarray, phones: list[tuple[int, ...]], samples: np.ndarray
) -> np.ndarray:
    """A class every 5 ms: each phone's time shared evenly among the classes it passes through.

    eSpeak has a stop begin with its burst; the closure before it is the stop's too. A loud pause is
    unknown.
    """
    n = len(samples) // _SPAN
    found = np.full(n, SILENCE, np.uint8)
    ends = np.append(starts[1:], len(samples))
    power = (samples[: n * _SPAN].astype(np.float32) ** 2).reshape(n, _SPAN).mean(1)
    energy_db = 10 * np.log10(power + 1)
    begun = 0
    for start, end, classes in zip(starts, ends, phones):
        marks = np.round(np.linspace(start, end, len(classes) + 1) / _SPAN).astype(int)
        marks = marks.clip(0, n)  # the last sound may be cut by resampling
        for first, last, k in zip(marks, marks[1:], classes):
            found[first:last] = k
        if classes[0] in _STOPS and begun < marks[0]:
            earliest = max(begun, marks[0] - round(_CLOSURE_S * SAMPLE_RATE / _SPAN))
            quiet = energy_db[earliest : marks[0]] < energy_db[begun : marks[0]].max() - _CLOSURE_DB
            loud = np.flatnonzero(~quiet)
            closes = earliest + (loud[-1] + 1 if len(loud) else 0)
            if found[marks[0] - 1] != SILENCE:
                found[closes : marks[0]] = classes[0]
        begun = int(marks[0])
    loudest = np.quantile(energy_db, 0.98)
    found[(found == SILENCE) & (energy_db > loudest + _SILENT_DB)] = UNKNOWN
    return found


def resample(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """To 16 kHz, int16, and a whole number of labels, cut at the end."""
    import librosa

    wave = samples.astype(np.float32)
    if sample_rate != SAMPLE_RATE:
        wave = librosa.resample(
            wave, orig_sr=sample_rate, target_sr=SAMPLE_RATE, res_type="soxr_mq"
        )
    whole = np.clip(wave, -32768, 32767).astype(np.int16)
    return whole[: len(whole) // LABEL_HOP * LABEL_HOP]


def speak_flite(
    rng: np.random.Generator,
) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, Any]]]:
    """English from recorded voices, with labels and origin; none when flite is not installed."""
    if shutil.which("flite") is None:
        return
    while True:
        text = str(rng.choice(SENTENCES["en"]))
        if rng.random() < 0.7:
            text = " ".join(word(rng, "en") for _ in range(rng.integers(8, 16)))
        voice = str(rng.choice(FLITE_VOICES))
        samples, classes = flite(text, voice, stretch=float(rng.uniform(0.75, 1.5)))
        origin = {"engine": "flite", "language": "en", "voice": voice, "text": text}
        yield samples, classes, origin


def flite(text: str, voice: str, *, stretch: float) -> tuple[np.ndarray, np.ndarray]:
    """Samples and labels, as of `label`; flite prints when each phone ends."""
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        wave = Path(folder) / "speech.wav"
        manner = ["-voice", voice, "--setf", f"duration_stretch={stretch:.3f}", "-psdur"]
        command = ["flite", *manner, "-t", text, "-o", str(wave)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        samples, sample_rate = soundfile.read(wave, dtype="int16")
    timed = re.findall(r"(\S+):([\d.]+)", run.stdout)
    ends = np.array([float(end) for _, end in timed]) * SAMPLE_RATE
    starts = np.concatenate([[0.0], ends[:-1]])
    samples = resample(samples, sample_rate)
    fine = fine_labels(starts, [ARPABET_CLASSES[phone] for phone, _ in timed], samples)
    return samples, fine[LABEL_HOP // _SPAN // 2 :: LABEL_HOP // _SPAN]


def _hash(text: str) -> int:
    return zlib.crc32(text.encode())
