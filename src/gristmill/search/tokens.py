"""Text to words, the same for every store and for questions, so that all stores rank alike.

Tokens hold no white space. They may hold ``.``, ``_`` and combining marks, so a store has to part them at spaces only.
A text gets all forms that its words may be asked for in, a question only the forms that it is written in: so ``Muenchen``,
``Munchen`` and ``München`` all find *München*, and no word of a question counts twice.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Literal, cast

import rjieba

from gristmill.search.scripts import FOLDED, WRITTEN_OUT, arabic_stem, is_arabic, settled

Kind = Literal["word", "han", "paired"]

VERSION = 2  # goes up whenever the tokens of any text change: stores then make their words anew
LONGEST = 64  # characters of a word that count; encoded data inside a text makes "words" of megabytes

_HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Scripts whose words are not parted by spaces and for which there is no dictionary here: Thai, Lao, Myanmar, Hangul
# (parted by spaces, but its words carry endings), Khmer, Kana.
_PAIRED = (
    "\u0e01-\u0e3a\u0e40-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff"
    "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uac00-\ud7af"
)
# Vowel signs and accents that no composed character exists for; without them a Hindi or Arabic word falls apart.
_MARKS = "\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0670\u06d6-\u06dc\u0900-\u0963\u0966-\u0dff"
# Nothing is ever given back, for what follows a run is always optional: the same matches, in less time.
_LETTERS = rf"(?:[^\W{_HAN}{_PAIRED}]++|[{_MARKS}]++)++"
_RUN = re.compile(
    rf"(?P<han>[{_HAN}]++)|(?P<paired>[{_PAIRED}]++)|(?P<word>{_LETTERS}(?:\.(?=\d){_LETTERS})*+)(?:['’]s\b)?"
)
_ASCII_WORD = re.compile(r"(\w++(?:\.(?=\d)\w++)*+)(?:'s\b)?", re.ASCII)  # the same, where there are no other letters

_ENGLISH = """
a about an and any are as at be been being but by can could did do does for from had has have he her him his how i if in
into is it its me my no not of on or our shall she should so some than that the their them then there these they this
those to us was we were what when where which who whom whose why will with would you your
"""
_CHINESE = """
的 了 是 在 和 与 及 或 吗 呢 吧 啊 呀 么 什么 甚么 为什么 为何 怎么 怎么样 怎样 如何 哪 哪个 哪些 哪里 哪儿 哪位 谁 多少
几 请问 请 有 被 把 对 从 到 由 于 之 其 这 那 这个 那个 这些 那些 它 他 她 我 你 我们 你们 他们 也 都 就 而 且 并 等 呀 吗
"""
STOP_WORDS = frozenset(_ENGLISH.split()) | frozenset(_CHINESE.split())


def normalise(text: str) -> str:
    """Compatibility forms composed (full-width letters, ligatures), case folded, digits of all scripts as 0 to 9.

    Of Arabic letters the forms that writers choose freely become one, and vowel signs and stretched lines go; so do soft
    hyphens and the vowel signs of Hebrew.
    """
    if text.isascii():
        return text.lower()
    return settled(unicodedata.normalize("NFKC", text).casefold())


def tokenize(text: str) -> list[str]:
    """The words of a text in order, in all forms that they may be asked for in.

    Letters, digits and ``_`` of any script make words, numbers keep their points (``3.14``, ``v1.2``). Accents may be left
    out, umlauts be written out. Chinese is cut by dictionary with the words inside of words kept (``著作权法`` gives
    ``著作``, ``著作权`` and itself); of traditional Chinese and Japanese all pairs of characters are words, too; Kana, Hangul
    and scripts without spaces become overlapping pairs. Arabic words lose their articles and endings. Case, width and
    compatibility forms make no difference.
    """
    text = normalise(text)
    if text.isascii():  # most texts, several times as fast
        return [word[:LONGEST] for word in _ASCII_WORD.findall(text)]
    found: list[str] = []
    for han, paired, word in _RUN.findall(text):
        if word and word.isascii():
            found.append(word[:LONGEST])
        else:
            found += forms("word", word) if word else forms("han", han) if han else forms("paired", paired)
    return found


def words(text: str) -> Iterator[tuple[Kind, int, str]]:
    """The runs of a normalised text that words are made of: what kind of script, where it begins, and the run."""
    for match in _RUN.finditer(text):
        kind = cast("Kind", match.lastgroup)
        yield kind, match.start(kind), match[kind]


def forms(kind: Kind, run: str) -> list[str]:
    """What a run of a text is found by."""
    if kind == "word":
        return _word_forms(run[:LONGEST])
    if kind == "paired":
        return _pairs(run)
    return _han_forms(run)


def query_terms(text: str) -> list[str]:
    """The words of a question, each once, without question words and stop words unless there is nothing else."""
    found = (term for kind, _, run in words(normalise(text)) for term in _asked(kind, run))
    terms = list(dict.fromkeys(found))
    return [term for term in terms if term not in STOP_WORDS] or terms


def _asked(kind: Kind, run: str) -> list[str]:
    """The forms of a run that a question asks for: those that it is written in."""
    if kind == "word":
        return forms(kind, run)[:1]
    if kind == "paired":
        return _pairs(run)
    cut = rjieba.cut_for_search(run, _is_simplified(run))
    return cut if _is_simplified(run) else [*cut, *_unknown(cut)]


def _word_forms(word: str) -> list[str]:
    """The word as it is written first; then without its accents, and with its umlauts written out."""
    if word.isascii():
        return [word]
    if is_arabic(word):
        return [arabic_stem(word)]
    plain, written_out = word.translate(FOLDED), word.translate(WRITTEN_OUT).translate(FOLDED)
    return list(dict.fromkeys(filter(None, (word, plain, written_out))))  # a lone accent is nothing without it


def _han_forms(run: str) -> list[str]:
    """Words by the dictionary. It knows simplified Chinese: of other runs all pairs of characters are words, too.

    Guessing at words that it does not know helps where the rest of the text is known only.
    """
    if _is_simplified(run):
        return rjieba.cut_for_search(run)
    cut = rjieba.cut_for_search(run, False)
    known = {word for word in cut if len(word) == 2}
    return [*cut, *(pair for pair in _pairs(run) if len(pair) == 2 and pair not in known)]


def _unknown(cut: list[str]) -> list[str]:
    """Pairs of characters that stand alone beside each other: of a word that the dictionary does not know."""
    return [before + after for before, after in pairwise(cut) if len(before) == 1 == len(after)]


def _is_simplified(run: str) -> bool:
    """Whether no character is of traditional Chinese or of Japanese alone, by the standards of where those are written."""
    return _written_in(run, "gb2312") or not any(map(_is_from_elsewhere, run))


@lru_cache(maxsize=1 << 16)
def _is_from_elsewhere(character: str) -> bool:
    """Rare characters are in none of these standards, and may be simplified like the rest of their text."""
    return not _written_in(character, "gb2312") and (
        _written_in(character, "big5") or _written_in(character, "shift_jis")
    )


def _written_in(text: str, standard: str) -> bool:
    try:
        text.encode(standard)
    except UnicodeEncodeError:
        return False
    return True


def _pairs(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run) - 1)] or [run]
