"""Families of numbering: which lines are headings by their number, and how deep."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ZH = "[一二三四五六七八九十百千零〇○0-9０-９]+"
_END = r"(?=\s*$|\s*[.:：、—–-]|\s+[A-ZÄÖÜ(\[“\"])"  # no sentence that speaks of a section: "Section 12 of the act"
_ROMAN = r"(?:[IVXLC]+|[0-9]+[a-z]?)"
_ROMAN_TITLE = r"[IVX]{1,5}\.\s+[^\n,.;]{3,60}$"  # a line that is nothing else: no initials of a name within a sentence
_FAMILIES = tuple(
    tuple(re.compile(one) for one in family)
    for family in (
        (
            rf"第\s*{_ZH}\s*(?:分?[编編]|部分|部|[卷篇])",
            rf"第\s*{_ZH}\s*[章回]",
            rf"第\s*{_ZH}\s*[节節]",
            rf"第\s*{_ZH}\s*[条條](?:[之の][一二三四五六七八九十]+)?(?![的所规規至、和或及与第])",
            r"[（(][一二三四五六七八九十百]+[）)]",
        ),
        (
            rf"第\s*[0-9]+\s*章|{_ROMAN_TITLE}",
            r"第\s*[0-9]+\s*节",
            r"[0-9]{1,2}(?:[.、](?![0-9])|\s+(?=[^\W\d]))",
            r"[0-9]{1,2}\.[0-9]{1,2}(?![0-9.a-zA-Z/%~-])",
            r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{1,2}(?![0-9.])",
            r"[0-9]{1,2}(?:\.[0-9]{1,2}){3}",
        ),
        (
            rf"第\s*{_ZH}\s*[章回]",
            rf"第\s*{_ZH}\s*[节節]",
            r"[一二三四五六七八九十百]+[、\s]",
            r"[（(][一二三四五六七八九十百]+[）)]",
            r"[（(][0-9]{1,2}[）)]",
        ),
        (
            rf"(?i:part|title|book|teil|buch)\s+"
            rf"(?:(?i:one|two|three|four|five|six|seven|eight|nine|ten)|[IVXLC]+|[0-9]+){_END}",
            rf"(?i:chapter|kapitel|abschnitt|subpart)\s+(?:{_ROMAN}|[A-Z]){_END}|{_ROMAN_TITLE}",
            rf"(?:(?i:section\.?|sec\.)|§)\s*[0-9]+[a-z]?(?:[.-][0-9]+[a-z]?)*{_END}",
            rf"(?i:article\.?|amendment|artikel|art\.)\s+{_ROMAN}{_END}",
        ),
        tuple(rf"#{{{n}}}(?!#)\s*" for n in range(1, 7)),
    )
)
_NO_BULLET = re.compile(r"0|[0-9]+\s+(?:[0-9~个只-])|[0-9]+\.{2,}|[0-9.]+[的中]")
_NO_TITLE = re.compile(r",\s|[,;，；。！!]")
_ARTICLE = re.compile(rf"第\s*{_ZH}\s*[条條]")
LAW, DECIMAL, ENGLISH = 0, 1, 3
_ARTICLES = {LAW: (4,), ENGLISH: (3, 4)}  # the depth of articles (sections, amendments) in each
_MOST_WORDS, _MOST_CHARS = 12, 32
_FEWEST = 2  # lines that make a family


def bullet(text: str, family: int) -> int:
    """The depth of a line in a family, from 1; 0 where it begins with none of the family's numbers."""
    text = text.strip()
    if family < 0 or _NO_BULLET.match(text):
        return 0
    return next((n for n, one in enumerate(_FAMILIES[family], 1) if one.match(text)), 0)


def family_of(texts: Sequence[str], *, articles: bool = False) -> int:
    """The family that most lines belong to, the first of equals; -1 where fewer than two belong to any.

    With ``articles`` that of most articles, if there are two.
    """
    if articles:
        counts = {n: sum(1 for text in texts if bullet(text, n) in depths) for n, depths in _ARTICLES.items()}
        most_articles = max(counts, key=lambda n: counts[n])
        if counts[most_articles] >= _FEWEST:
            return most_articles
    found = [sum(1 for text in texts if bullet(text, n)) for n in range(len(_FAMILIES))]
    most = max(found)
    return found.index(most) if most >= _FEWEST else -1


def is_title(text: str) -> bool:
    """Whether a line may be a title: short, and no sentence."""
    text = text.strip()
    if _ARTICLE.match(text):
        return True
    too_long = len(text.split()) > _MOST_WORDS or (" " not in text and len(text) >= _MOST_CHARS)
    return bool(text) and not too_long and not _NO_TITLE.search(text)


def number_of(text: str, family: int) -> str:
    """The number that a line begins with, "" where it begins with none of the family's."""
    found = (one.match(text) for one in _FAMILIES[family]) if family >= 0 else iter(())
    return next((match[0].strip() for match in found if match), "")


def is_sentence(text: str) -> bool:
    """Whether a text has the signs of a sentence, which a title has not."""
    return bool(_NO_TITLE.search(text))


def is_numbered(text: str) -> bool:
    """Whether a line begins with a number of any family."""
    return any(bullet(text, family) for family in range(len(_FAMILIES)))


def is_article(text: str) -> bool:
    """Whether a line begins an article, section or amendment of a law."""
    text = text.strip()
    return any(bullet(text, family) in depths for family, depths in _ARTICLES.items())
