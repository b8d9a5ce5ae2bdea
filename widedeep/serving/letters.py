"""Text as the letters that are typed for it: without case, accents and spaces, Hangul taken apart.

A Korean syllable is typed letter by letter: on the way to 매트 a search field holds ㅁ, 매 and 맽,
and as letters (ㅁㅐㅌ) each of them is a beginning of ㅁㅐㅌㅡ. The order of the letters is that of
The Unicode Standard, section 3.12 and chart U+1100.
"""

import re
import unicodedata

_INITIALS = "ㄱ ㄲ ㄴ ㄷ ㄸ ㄹ ㅁ ㅂ ㅃ ㅅ ㅆ ㅇ ㅈ ㅉ ㅊ ㅋ ㅌ ㅍ ㅎ"
_VOWELS = "ㅏ ㅐ ㅑ ㅒ ㅓ ㅔ ㅕ ㅖ ㅗ ㅗㅏ ㅗㅐ ㅗㅣ ㅛ ㅜ ㅜㅓ ㅜㅔ ㅜㅣ ㅠ ㅡ ㅡㅣ ㅣ"
_FINALS = (
    "ㄱ ㄲ ㄱㅅ ㄴ ㄴㅈ ㄴㅎ ㄷ ㄹ ㄹㄱ ㄹㅁ ㄹㅂ ㄹㅅ ㄹㅌ ㄹㅍ ㄹㅎ "
    "ㅁ ㅂ ㅂㅅ ㅅ ㅆ ㅇ ㅈ ㅊ ㅋ ㅌ ㅍ ㅎ"
)
_FIRST_INITIAL, _FIRST_VOWEL, _FIRST_FINAL = 0x1100, 0x1161, 0x11A8

_TYPED = {
    first + i: letters
    for first, block in (
        (_FIRST_INITIAL, _INITIALS),
        (_FIRST_VOWEL, _VOWELS),
        (_FIRST_FINAL, _FINALS),
    )
    for i, letters in enumerate(block.split())
}
_NOT_INITIAL = dict.fromkeys(
    (*range(_FIRST_VOWEL, _FIRST_VOWEL + 21), *range(_FIRST_FINAL, _FIRST_FINAL + 27))
)
_AS_INITIAL = {ord(letter): chr(_FIRST_INITIAL + i) for i, letter in enumerate(_INITIALS.split())}
_BETWEEN = re.compile(r"[\W_]+")


def words(text: str) -> list[str]:
    """The words of `text`, plain: lower case, no accents or marks, Hangul as conjoining letters."""
    apart = unicodedata.normalize("NFKD", text).casefold()
    if not apart.isascii():
        apart = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return [word for word in _BETWEEN.split(apart) if word]


def typed(word: str) -> str:
    """The letters that are typed for a plain word; double vowels and finals are two."""
    return word.translate(_TYPED)


def initials(word: str) -> str:
    """A plain word by the first consonant of each syllable (초성), which no typed word contains."""
    return word.translate(_NOT_INITIAL)


def as_initials(letters: str) -> str:
    """Typed consonants as `initials` gives them; anything that holds a vowel as it is."""
    consonants = letters.translate(_AS_INITIAL)
    return letters if any("ㅏ" <= letter <= "ㅣ" for letter in letters) else consonants
