"""Times by a crontab line: minute, hour, day of the month, month, day of the week, in a time zone. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gristmill.base.errors import EngineError

_SHORT: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
_Field: TypeAlias = tuple[str, int, int, Sequence[str]]  # name, least, most, and words for the numbers
_FIELDS: Final[tuple[_Field, ...]] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_PIECE = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d+))?")
_YEARS: Final = 9  # between two 29ths of February, at most eight


@dataclass(frozen=True)
class Cron:
    """When something is due. Raises EngineError where a line or a time zone is none."""

    line: str
    zone: tzinfo
    times: tuple[time, ...]
    month_days: frozenset[int] | None  # None: any
    months: frozenset[int]
    week_days: frozenset[int] | None  # 0 is Sunday

    def around(self, now: float) -> tuple[float, float]:
        """The last time that is not after ``now``, and the next one, in seconds since the epoch."""
        today = datetime.fromtimestamp(now, self.zone).date()
        last = next(moment for moment in self._moments(today, -1) if moment <= now)
        return last, next(moment for moment in self._moments(today, 1) if moment > now)

    def _moments(self, day: date, step: int) -> Iterator[float]:
        """All times, from the day beside ``day`` on, into the future or the past. A zone's changes move a day's ends."""
        day -= timedelta(step)
        for _ in range(366 * _YEARS):
            if self._matches(day):
                yield from sorted(self._times_of(day), reverse=step < 0)
            day += timedelta(step)
        raise EngineError(f"cron {self.line!r}: there is no such day")

    def _times_of(self, day: date) -> set[float]:
        """An hour that the clocks leave out is the one after it; of one that comes twice, the first counts."""
        return {datetime.combine(day, at, self.zone).timestamp() for at in self.times}

    def _matches(self, day: date) -> bool:
        """As crontab has it: where both kinds of days are given, either will do."""
        if day.month not in self.months:
            return False
        by_month = self.month_days is None or day.day in self.month_days
        by_week = self.week_days is None or day.isoweekday() % 7 in self.week_days
        if self.month_days is None or self.week_days is None:
            return by_month and by_week
        return by_month or by_week


@cache
def parse(line: str, timezone: str = "UTC") -> Cron:
    """A crontab line, read. ``*``, lists, ranges, steps, names of months and days, ``@daily`` and its like."""
    words = _SHORT.get(line.strip().lower(), line).split()
    if len(words) != len(_FIELDS):
        raise EngineError(f"cron {line!r}: a line has five fields (minute, hour, day, month, day of the week)")
    minutes, hours, days, months, week = (_read(line, word, field) for word, field in zip(words, _FIELDS, strict=True))
    cron = Cron(
        line=line,
        zone=_zone(timezone),
        times=tuple(time(hour, minute) for hour in sorted(hours) for minute in sorted(minutes)),
        month_days=None if words[2] == "*" else days,
        months=months,
        week_days=None if words[4] == "*" else frozenset(day % 7 for day in week),
    )
    cron.around(0.0)  # raises where no day will ever do
    return cron


def _read(line: str, word: str, field: _Field) -> frozenset[int]:
    name, least, most, names = field
    found: set[int] = set()
    for piece in word.lower().split(","):
        match = _PIECE.fullmatch(piece)
        values = _range(match, least, most, names) if match else None
        if not values:
            raise EngineError(f"cron {line!r}: {piece!r} is no {name} ({least} to {most})")
        found.update(values)
    return frozenset(found)


def _range(match: re.Match[str], least: int, most: int, names: Sequence[str]) -> range | None:
    """What a piece stands for; None where it is none of this field."""
    every, first, last, step = match.groups()
    begin = least if every else _number(first, names)
    end = most if every or (step and not last) else _number(last or first, names)
    if begin is None or end is None or not least <= begin <= end <= most or step == "0":
        return None
    return range(begin, end + 1, int(step or 1))


def _number(word: str, names: Sequence[str]) -> int | None:
    if word.isdecimal():
        return int(word)
    return names.index(word) if word in names else None


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC  # also where there is no database of zones
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise EngineError(f"there is no time zone {name!r} on this machine; UTC is always there") from exc
