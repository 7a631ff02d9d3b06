"""Speech to measure motion with: voices, languages and manners, with the times of their phones.

None of these sentences is trained on.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Callable, Iterator

import numpy as np

from vasa_cli.audio import Audio
from vasa_cli.config import SAMPLE_RATE
from vasa_cli.errors import VasaError
from vasa_cli.models.audio_encoder import SILENCE
from vasa_cli.spoken_figures import Spoken
from vasa_cli.training.espeak import espeak, variants
from vasa_cli.training.speech_corpus import FLITE_VOICES, LABEL_HOP, flite, label, resample

PAUSE_S = 0.8  # between sentences
WORDS_A_MINUTE = 160
ENGLISH = (
    "Bobby Palmer will buy me a pair of brown boots before five.",
    "Even the fever of November never moved our family.",
    "Peter may keep three green beads, but Mabel needs a bigger map.",
    "Who knew that you would choose to move the blue moon so soon?",
    "We see the sea each evening, and we feed the geese our cheese.",
    "My mother's problem was a broken pump below the farm.",
)
LANGUAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "Chinese": (
        "cmn",
        (
            "我的朋友每天早上跑步，然后买面包。",
            "妈妈和爸爸明天飞往北平看朋友。",
            "飞机慢慢飞过白色的房屋和美丽的湖泊。",
        ),
    ),
    "Arabic": (
        "ar",
        (
            "ذهب محمد مع أبيه إلى البيت قبل المغرب.",
            "فتح الولد باب الفصل ودفع المفتاح في يد المعلم.",
            "أحب أن أشرب كوبا من اللبن مع بعض الموز.",
        ),
    ),
    "German": (
        "de",
        (
            "Mein Bruder Paul bringt am Montag vier Flaschen Milch und ein halbes Brot vorbei.",
            "Die Oma möchte früh am Morgen mit dem Bus nach Bremen fahren.",
            "Wir fliegen über viele schöne Wiesen, bevor wir müde werden.",
        ),
    ),
    "Italian": (
        "it",
        (
            "Papà compra un po' di pane e una bottiglia di buon vino bianco.",
            "Domani mattina proviamo a fare il bagno vicino al porto.",
            "Mia nonna vive in una piccola via dove fioriscono molte rose.",
        ),
    ),
    "Portuguese": (
        "pt",
        (
            "O meu primo Paulo bebe um copo de vinho verde à tarde.",
            "A família viveu muitos meses em uma fazenda perto do mar.",
            "Posso ver um pombo branco em cima da ponte de pedra.",
        ),
    ),
}
VOICES = ("", "m3", "m7", "f2", "f5", "klatt", "croak", "belinda", "grandpa", "Alex")
FAST_WORDS_A_MINUTE = 320
CHILD_RATIO = 1.3  # pitch and formants of a voice that is played so much faster
SINGING_STRETCH = 3  # vowels of half a second and more


def voices() -> Iterator[Spoken]:
    """The English sentences by every voice that is installed, of eSpeak NG and flite.

    Raises: ResourceError when espeak-ng is not installed.
    """
    there = variants()
    for name in VOICES:
        if name in there:
            yield _spoken([_say(text, "en", name) for text in ENGLISH], f"espeak-ng en+{name}")
    if shutil.which("flite") is not None:
        for name in FLITE_VOICES:
            parts = [flite(text, name, stretch=1.0) for text in ENGLISH]
            yield _spoken(parts, f"flite {name}")


def languages() -> Iterator[Spoken]:
    """Three sentences in each of LANGUAGES; one that this espeak-ng lacks is left out.

    Raises: ResourceError when espeak-ng is not installed.
    """
    there = espeak().languages()
    for name, (code, texts) in LANGUAGES.items():
        if code in there:
            parts = [_say(text, code, "") for text in texts]
            yield _spoken(parts, f"espeak-ng {code}", kind=name)


def manners() -> Iterator[Spoken]:
    """English that is fast, whispered, high as a child's, and with vowels as long as sung ones.

    Raises: ResourceError when espeak-ng is not installed.
    """
    fast = [_say(text, "en", "", rate=FAST_WORDS_A_MINUTE) for text in ENGLISH]
    yield _spoken(fast, "espeak-ng en", kind="fast")
    if "whisper" in variants():
        whispered = [_say(text, "en", "whisper") for text in ENGLISH]
        yield _spoken(whispered, "espeak-ng en+whisper", kind="whisper")
    slow = [_say(text, "en", "f2", rate=round(WORDS_A_MINUTE / CHILD_RATIO)) for text in ENGLISH]
    yield _spoken([_quicker(*part) for part in slow], "espeak-ng en+f2, raised", kind="child")
    sung = [_say(text, "en", "f2", pitch_range=99) for text in ENGLISH[:4]]
    yield _spoken(
        [_stretched(*part) for part in sung], "espeak-ng en+f2, stretched", kind="singing"
    )


def _say(
    text: str, language: str, variant: str, *, rate: int = WORDS_A_MINUTE, pitch_range: int = 50
) -> tuple[np.ndarray, np.ndarray]:
    """Samples at 16 kHz, int16, and their labels."""
    manner = {"rate": rate, "pitch": 50, "pitch_range": pitch_range}
    return label(espeak().speak(text, language=language, variant=variant, **manner))


def _quicker(samples: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Played CHILD_RATIO times as fast, so that pitch and formants rise with it."""
    quick = resample(samples, round(SAMPLE_RATE * CHILD_RATIO))
    place = (np.arange(len(quick) // LABEL_HOP) + 0.5) * CHILD_RATIO
    return quick, labels[np.minimum(place.astype(int), len(labels) - 1)]


def _stretched(samples: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SINGING_STRETCH times as long at the same pitch."""
    import librosa

    wave = librosa.effects.time_stretch(samples.astype(np.float32), rate=1 / SINGING_STRETCH)
    longer = np.repeat(labels, SINGING_STRETCH)
    fitted = np.zeros(len(longer) * LABEL_HOP, np.float32)
    n = min(len(wave), len(fitted))
    fitted[:n] = wave[:n]
    return np.clip(fitted, -32768, 32767).astype(np.int16), longer


def _spoken(
    parts: list[tuple[np.ndarray, np.ndarray]], voice: str, *, kind: str = "voice"
) -> Spoken:
    """Sentences one after the other, a pause before each and after the last."""
    n_pause = round(PAUSE_S * SAMPLE_RATE / LABEL_HOP)
    pause = (np.zeros(n_pause * LABEL_HOP, np.int16), np.full(n_pause, SILENCE, np.uint8))
    joined = [pause, *(piece for part in parts for piece in (part, pause))]
    samples, labels = (np.concatenate(column) for column in zip(*joined))
    return Spoken(Audio(Path(voice), samples), labels, voice.removesuffix("+"), kind)


def spoken(tell: Callable[[str], None]) -> list[Spoken]:
    """All speech to measure with; less, and why, where engines are missing."""
    found: list[Spoken] = []
    for make in (voices, languages, manners):
        try:
            found += make()
        except VasaError as error:
            tell(f"left out speech of known phones: {error}")
            break
    return found
