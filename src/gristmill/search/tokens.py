"""Text to words, the same for every store and for questions, so that all stores rank alike.

Tokens hold no white space. They may hold ``.``, ``_`` and combining marks, so a store has to part them at spaces only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal, cast

import rjieba

Kind = Literal["word", "han", "paired"]

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
_LETTER = rf"(?:(?![{_HAN}{_PAIRED}])[\w{_MARKS}])"
_RUN = re.compile(
    rf"(?P<han>[{_HAN}]+)|(?P<paired>[{_PAIRED}]+)|(?P<word>{_LETTER}+(?:\.(?=\d){_LETTER}+)*)(?:['’]s\b)?"
)

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
    """Compatibility forms composed (full-width letters, ligatures), case folded."""
    return unicodedata.normalize("NFKC", text).casefold()


def tokenize(text: str) -> list[str]:
    """The words of a text in order.

    Letters, digits and ``_`` of any script make words, numbers keep their points (``3.14``, ``v1.2``). Chinese is cut by
    dictionary with the words inside of words kept (``著作权法`` gives ``著作``, ``著作权`` and itself); Kana, Hangul and
    scripts without spaces become overlapping pairs. Case, width and compatibility forms make no difference.
    """
    tokens: list[str] = []
    for kind, _, run in words(normalise(text)):
        if kind == "word":
            tokens.append(run[:LONGEST])
        elif kind == "han":
            tokens.extend(rjieba.cut_for_search(run))
        else:
            tokens.extend(_pairs(run))
    return tokens


def words(text: str) -> Iterator[tuple[Kind, int, str]]:
    """The runs of a normalised text that words are made of: what kind of script, where it begins, and the run."""
    for match in _RUN.finditer(text):
        kind = cast("Kind", match.lastgroup)
        yield kind, match.start(kind), match[kind]


def query_terms(text: str) -> list[str]:
    """The words of a question, each once, without question words and stop words unless there is nothing else."""
    terms = list(dict.fromkeys(tokenize(text)))
    return [term for term in terms if term not in STOP_WORDS] or terms


def _pairs(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run) - 1)] or [run]
