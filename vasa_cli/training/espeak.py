"""eSpeak NG as a maker of speech with known phones, through its shared library."""

from __future__ import annotations

import ctypes
import ctypes.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vasa_cli.errors import InputError, ResourceError

_SYNCHRONOUS = 2
_PHONEME_EVENTS_IN_IPA = 3
_UTF8, _PHONEMES = 1, 0x100
_END_OF_LIST, _PHONEME = 0, 7
_RATE, _PITCH, _RANGE = 1, 3, 4
# Fair use of the library's own variants: human-like ones; the rest are effects or copies.
VARIANTS = (
    *("", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5"),
    *("croak", "whisper", "whisperf", "Alex", "Andy", "Annie", "Diogo", "Gene", "Hugo", "Lee"),
    *("Marco", "Mario", "Michael", "Mike", "adam", "anika", "antonio", "aunty", "belinda", "boris"),
    *("caleb", "david", "edward", "grandma", "grandpa", "gustave", "john", "klatt", "klatt2"),
    *("linda", "max", "miguel", "norbert", "pablo", "paul", "quincy", "rob", "shelby", "steph"),
    *("travis", "victor", "zac", "kaukovalta", "iven", "robert", "sandro", "michel", "marcelo"),
)


class _Voice(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


class _EventId(ctypes.Union):
    _fields_ = [
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    ]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True, eq=False)
class Utterance:
    """Synthetic speech and when each phone begins."""

    samples: np.ndarray  # (N,) int16
    sample_rate: int
    starts: np.ndarray  # (P,) sample at which each phone begins
    phones: tuple[str, ...]  # P of them, IPA; "" is a pause


class Espeak:
    """The one speaker of this process; get it by `espeak()`."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.sample_rate: int = library.espeak_Initialize(
            _SYNCHRONOUS, 0, None, _PHONEME_EVENTS_IN_IPA
        )
        if self.sample_rate <= 0:
            raise ResourceError("espeak-ng cannot find its data; install espeak-ng-data")
        self._pieces: list[np.ndarray] = []
        self._events: list[tuple[int, str]] = []
        self._callback = _Callback(self._take)  # must outlive the library's use of it
        library.espeak_SetSynthCallback(self._callback)

    def languages(self) -> list[str]:
        """Codes of all languages there are voices for, such as "de" and "pt-BR"."""
        self._library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        voices = self._library.espeak_ListVoices(None)
        codes, n = [], 0
        while voices[n]:
            voice = voices[n].contents
            if not voice.identifier.startswith(b"mb/"):  # MBROLA's own data are missing
                codes.append(voice.identifier.decode().rpartition("/")[2])
            n += 1
        return sorted(set(codes))

    def speak(
        self,
        text: str,
        *,
        language: str,
        variant: str = "",
        rate: int,
        pitch: int,
        pitch_range: int,
    ) -> Utterance:
        """Speak a text; phonemes in [[ ]] are taken as such.

        Args:
            rate: words a minute.
            pitch: 0 to 99, 50 is the voice's own.
            pitch_range: 0 (a monotone) to 99.

        Raises:
            InputError: there is no such language or variant.
        """
        name = f"{language}+{variant}" if variant else language
        if self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise InputError(f"espeak-ng has no voice {name}; see espeak-ng --voices")
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._pieces, self._events = [], []
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, 1, 0, _UTF8 | _PHONEMES, None, None)
        samples = np.concatenate([np.zeros(0, np.int16), *self._pieces])
        starts = np.array([start for start, _ in self._events], np.int64)
        return Utterance(samples, self.sample_rate, starts, tuple(p for _, p in self._events))

    def _take(self, wave: Any, n_samples: int, events: Any) -> int:
        if wave and n_samples > 0:
            self._pieces.append(np.ctypeslib.as_array(wave, (n_samples,)).copy())
        n = 0
        while events[n].type != _END_OF_LIST:
            if events[n].type == _PHONEME:
                phone = bytes(events[n].id.string).decode(
                    "utf-8", errors="ignore"
                )  # cut at 8 bytes
                self._events.append((events[n].sample, phone))
            n += 1
        return 0


@lru_cache(maxsize=1)
def espeak() -> Espeak:
    """The library, started.

    Raises:
        ResourceError: espeak-ng is not installed.
    """
    found = ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1"
    try:
        return Espeak(ctypes.CDLL(found))
    except OSError as error:
        raise ResourceError(f"espeak-ng is missing ({error}); install the package") from error


def variants() -> list[str]:
    """The voices' variants that are installed; "" is the plain voice."""
    espeak()._library.espeak_Info.restype = ctypes.c_char_p
    place = ctypes.c_char_p()
    espeak()._library.espeak_Info(ctypes.byref(place))
    folder = Path((place.value or b"").decode()) / "voices" / "!v"
    return [name for name in VARIANTS if not name or (folder / name).is_file()]
