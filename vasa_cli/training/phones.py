"""Which broad class of the mouth each symbol of the phonetic alphabets belongs to."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from vasa_cli.models.audio_encoder import CLASSES, SILENCE

_IPA = {
    "bilabial": "p b m ɸ β ʙ ɓ ʘ Φ",
    "labiodental": "f v ɱ ʋ ⱱ",
    "dental": "θ ð ǀ",
    "alveolar_stop": "t d ʈ ɖ ɗ ᶑ",
    "alveolar_nasal": "n ɳ",
    "sibilant": "s z ʂ ʐ ǃ ʦ ʣ",
    "lateral": "l ɫ ɬ ɮ ɭ ʎ ʟ ɺ ǁ ȴ",
    "postalveolar": "ʃ ʒ ɕ ʑ ʧ ʤ ɧ š ž S Z",
    "rhotic": "r ɹ ɾ ɽ ɻ ʀ ʁ R",
    "velar": "X k g ɡ ŋ x ɣ q ɢ χ c ɟ ɲ ç ʝ ɴ ɰ ɠ ʄ ʛ N",
    "glottal": "h ɦ ʔ ʕ ħ ʡ ʢ ʜ H ?",
    "labial_glide": "w ʍ ɥ",
    "palatal_glide": "j",
    "open": "a ɑ ɐ ʌ ä A",
    "open_front": "ɛ æ E ε",
    "mid_front": "e",
    "close_front": "i ɪ ɨ ɯ ᵻ ɩ ı I",
    "central": "ə ɘ ɜ ɞ ɚ ɝ ɤ @",
    "open_back": "ɔ ɒ O",
    "mid_rounded": "o ɵ",
    "close_rounded": "u ʊ ʉ U ɷ",
    "front_rounded": "y ø œ ʏ ɶ Y",
}
_ARPABET = {
    "silence": "pau ssil h#",
    "bilabial": "p b m",
    "labiodental": "f v",
    "dental": "th dh",
    "alveolar_stop": "t d",
    "alveolar_nasal": "n",
    "sibilant": "s z",
    "lateral": "l",
    "postalveolar": "sh zh ch jh",
    "rhotic": "r",
    "velar": "X k g ng",
    "glottal": "hh",
    "labial_glide": "w",
    "palatal_glide": "y",
    "open": "aa ah",
    "open_front": "eh ae",
    "close_front": "ih iy",
    "central": "ax er axr",
    "open_back": "ao",
    "close_rounded": "uh uw",
}
_DIPHTHONGS = {
    "aw": ("open", "close_rounded"),
    "ay": ("open", "close_front"),
    "ey": ("mid_front", "close_front"),
    "ow": ("mid_rounded", "close_rounded"),
    "oy": ("open_back", "close_front"),
}


def _invert(table: dict[str, str]) -> dict[str, int]:
    return {s: CLASSES.index(name) for name, symbols in table.items() for s in symbols.split()}


IPA_CLASSES = _invert(_IPA)
ARPABET_CLASSES = {symbol: (k,) for symbol, k in _invert(_ARPABET).items()} | {
    symbol: (CLASSES.index(first), CLASSES.index(second))
    for symbol, (first, second) in _DIPHTHONGS.items()
}
LENGTHS = "ːˑ:"
# Marks that do not change the class; combining marks are passed over by their Unicode category.
MARKS = "ˈˌʰʱʲˠˤʷⁿˡʼ‿͡.-_|‖ꜛꜜ↗↘˥˦˧˨˩^'`,;!\"#~&*/\\1234567890" + "ʴʵʳ˞ᵝᵐᶑ[]{}<>() "


@lru_cache(maxsize=None)
def ipa_classes(text: str) -> tuple[int, ...] | None:
    """The classes that a phone in IPA passes through, a length mark repeating the one before it.

    Returns:
        Silence for no text at all; None when a symbol is not in the table.
    """
    if not text:
        return (SILENCE,)
    classes: list[int] = []
    # Letters with marks, such as ã, fall apart into letter and mark, but for those in the table.
    for letter in text:
        parts = letter if letter in IPA_CLASSES else unicodedata.normalize("NFD", letter)
        for symbol in parts:
            if symbol in LENGTHS:
                classes += classes[-1:]
            elif symbol in IPA_CLASSES:
                classes.append(IPA_CLASSES[symbol])
            elif symbol not in MARKS and not unicodedata.category(symbol).startswith("M"):
                return None
    return tuple(classes) or (SILENCE,)
