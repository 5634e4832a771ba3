"""Crontab lines: what they mean, in which zone, and which are none."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.base.errors import EngineError
from gristmill.engine.cron import parse

UTC = "UTC"
BERLIN = "Europe/Berlin"


def at(text: str, zone: str = UTC) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("line", "now", "last", "after"),
    [
        ("* * * * *", "2026-05-05 10:20:30", "2026-05-05 10:20", "2026-05-05 10:21"),
        ("*/15 * * * *", "2026-05-05 10:59:59", "2026-05-05 10:45", "2026-05-05 11:00"),
        ("5 0 * * *", "2026-05-05 00:05", "2026-05-05 00:05", "2026-05-06 00:05"),
        ("0 9-17/4 * * mon-fri", "2026-05-08 17:30", "2026-05-08 17:00", "2026-05-11 09:00"),  # a Friday
        ("0 0 1 * *", "2026-05-05 10:20", "2026-05-01 00:00", "2026-06-01 00:00"),
        ("0 0 29 2 *", "2026-05-05 10:20", "2024-02-29 00:00", "2028-02-29 00:00"),
        ("0 0 29 feb *", "1897-05-05 10:20", "1896-02-29 00:00", "1904-02-29 00:00"),
        ("0 0 13 * fri", "2026-05-09 00:00", "2026-05-08 00:00", "2026-05-13 00:00"),  # either kind of day
        ("0 0 * * 7", "2026-05-05 10:20", "2026-05-03 00:00", "2026-05-10 00:00"),
        ("0 0 * * SUN", "2026-05-05 10:20", "2026-05-03 00:00", "2026-05-10 00:00"),
        ("1,3,5-7 12 * * *", "2026-05-05 12:06", "2026-05-05 12:06", "2026-05-05 12:07"),
        ("50/5 * * * *", "2026-05-05 12:06", "2026-05-05 11:55", "2026-05-05 12:50"),
        ("@hourly", "2026-05-05 12:06", "2026-05-05 12:00", "2026-05-05 13:00"),
        ("@yearly", "2026-05-05 12:06", "2026-01-01 00:00", "2027-01-01 00:00"),
    ],
)
def test_lines_mean_what_crontab_says(line: str, now: str, last: str, after: str) -> None:
    assert parse(line).around(at(now)) == (at(last), at(after))


def test_an_hour_that_clocks_leave_out_is_the_next_one_and_one_that_comes_twice_counts_once() -> None:
    nightly = parse("30 2 * * *", BERLIN)
    moments = [at("2026-03-28 12:00", BERLIN)]
    for _ in range(3):
        moments.append(nightly.around(moments[-1])[1])
    hours = [datetime.fromtimestamp(moment, ZoneInfo(BERLIN)).strftime("%d %H:%M") for moment in moments[1:]]
    assert hours == ["29 03:30", "30 02:30", "31 02:30"]
    first = at("2026-10-25 02:30", BERLIN)
    assert nightly.around(first) == (first, at("2026-10-26 02:30", BERLIN))
    assert parse("0 * * * *", BERLIN).around(first)[1] == at("2026-10-25 03:00", BERLIN)


LINES = ["* * * * *", "7 */5 * * *", "30 2 * * *", "0 0 1,15 * mon", "59 23 31 12 *"]


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(LINES), st.sampled_from([UTC, BERLIN, "America/New_York", "Asia/Kolkata"]), st.floats(0, 4e9))
def test_now_lies_between_two_times_that_follow_each_other(line: str, zone: str, now: float) -> None:
    cron = parse(line, zone)
    last, after = cron.around(now)
    assert last <= now < after
    assert cron.around(last) == (last, after)
    assert cron.around(after)[0] == after


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("* * * *", "five fields"),
        ("60 * * * *", "'60' is no minute"),
        ("* 5-3 * * *", "'5-3' is no hour"),
        ("* * 0 * *", "day of the month"),
        ("* * * foo *", "'foo' is no month"),
        ("*/0 * * * *", "minute"),
        ("1,, * * * *", "minute"),
        ("0 0 31 2 *", "no such day"),
        ("", "five fields"),
    ],
)
def test_what_is_no_line_is_refused_with_the_reason(line: str, reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        parse(line)


def test_a_zone_that_is_not_there_is_named() -> None:
    with pytest.raises(EngineError, match="Middle/Earth"):
        parse("* * * * *", "Middle/Earth")
