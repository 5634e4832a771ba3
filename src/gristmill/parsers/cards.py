"""Calendars and contacts as they are sent by mail (iCalendar, vCard): lines of names and values."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gristmill.ports.document import Block

_FOLDED = re.compile(r"\n[ \t]")
_SOFT = re.compile(r"=\n")
_ESCAPED = re.compile(r"\\([nN,;\\:])")
_BEGIN = re.compile(r"BEGIN:(?:VCALENDAR|VCARD)[ \t]*\n", re.I)
_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)\d\d(Z?))?")
_QUOTED = re.compile(r"=([0-9A-Fa-f]{2})")
_PERSON = re.compile(r';CN="?([^";:]+)', re.I)
_UNSAID = frozenset(
    """UID PRODID VERSION CALSCALE METHOD DTSTAMP CREATED LAST-MODIFIED SEQUENCE TRANSP CLASS PRIORITY REV PHOTO LOGO SOUND KEY
    TZID TZOFFSETFROM TZOFFSETTO TZNAME RRULE TRIGGER ACTION""".split()
)


def is_cards(text: str) -> bool:
    """Whether a text is a calendar or contacts."""
    return _BEGIN.match(text.lstrip()) is not None


def cards(text: str) -> Iterator[Block]:
    """A record for each event, task or contact: what its fields say, without what only programs need."""
    lines: list[str] = []
    kinds: list[str] = []
    for line in _FOLDED.sub("", _SOFT.sub("", text.lstrip())).split("\n"):
        head, _, value = line.partition(":")
        name = head.partition(";")[0].rpartition(".")[2].upper()
        if name in ("BEGIN", "END"):
            if lines:
                yield Block("record", "\n".join(lines), attrs={"part": kinds[-1]} if kinds else {})
            lines = []
            if name == "BEGIN":
                kinds.append(value.strip().lower().removeprefix("v"))
            elif kinds:
                kinds.pop()
        elif value.strip() and name not in _UNSAID and not name.startswith("X-") and "timezone" not in kinds:
            lines.append(f"{name.capitalize()}: {_said(head, value)}")
    if lines:
        yield Block("record", "\n".join(lines))


def _said(head: str, value: str) -> str:
    """A value as a reader would write it; the name of a person before the address."""
    if "ENCODING=QUOTED-PRINTABLE" in head.upper():
        raw = _QUOTED.sub(lambda match: chr(int(match[1], 16)), value)
        value = raw.encode("latin-1", "replace").decode("utf-8", "replace") if "=" in value else value
    date = _DATE.fullmatch(value.strip())
    if date:
        year, month, day, hour, minute, zone = date.groups()
        return f"{year}-{month}-{day}" + (f" {hour}:{minute}{' UTC' if zone else ''}" if hour else "")
    value = _ESCAPED.sub(lambda match: "\n" if match[1] in "nN" else match[1], value).strip()
    value = re.sub(r"^mailto:", "", value, flags=re.I)
    if head.upper().startswith(("N;", "N:", "ADR", "ORG")) or head.upper() in ("N", "ORG"):
        value = " ".join(filter(None, map(str.strip, value.split(";"))))
    person = _PERSON.search(head)
    return f"{person[1].strip()} <{value}>" if person else value
