"""What a master does in one turn of its loop."""

from __future__ import annotations

import os

from gristmill.engine.fleet import Plan
from gristmill.engine.supervisor import Supervisor


def test_a_worker_whose_end_and_last_words_come_in_one_turn_is_dealt_with_once() -> None:
    """The word of its end is read first, while its socket is ready in the same turn."""
    master = Supervisor(Plan(["true"]))
    child = master._start()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    turn = master._selector.select()
    master._on_chld()
    for key, _ in turn:
        key.data()
    assert turn
    assert master.children == []
    master._selector.close()
