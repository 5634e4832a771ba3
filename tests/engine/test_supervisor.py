"""What a master does in one turn of its loop."""

from __future__ import annotations

import os
import signal

from gristmill.engine.fleet import Child, Plan
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


def test_a_drain_turns_readiness_off_before_a_worker_is_told() -> None:
    """Whoever asks sends nothing more by the time at which the first worker stops taking work."""
    master = Supervisor(Plan(["true"]))
    seen: list[int] = []

    class Asks(Child):
        def stop(self, number: int, *, within: float) -> None:
            seen.append(master._probes.answer("/ready")[0])
            super().retire(within=within)

    worker = Asks(master.plan, jitter=0.0)
    worker.ready = True
    master.children.append(worker)
    master._look()
    assert master._probes.answer("/ready")[0] == 200
    master._stop_all("drain", signal.SIGTERM, 30.0)
    assert seen == [503]
    master._selector.close()
