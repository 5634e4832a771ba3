"""Triggers: the database itself keeps the table of legal steps (P2, P3), whatever writes to it."""

from __future__ import annotations

from collections.abc import Iterator

from gristmill.brokers.sql.tables import task
from gristmill.engine.state import FINAL, LEGAL, TaskState

_FINAL = ", ".join(f"'{state}'" for state in sorted(FINAL))
_KEPT = [column.name for column in task.columns if column.name != "key"]  # a replay moves the key
_NO_STEP = "no step of a task"
_ENDED = "the task has ended"
_NOT_ENDED = "the task has not ended"
_BEGINS = "a task begins queued"
_TOKEN = "a claim needs a new token"  # noqa: S105  a message, no password


def _steps(state: TaskState) -> str:
    return ", ".join(f"'{other}'" for other in sorted({state, *LEGAL[state]}))


def sqlite() -> Iterator[str]:
    """For SQLite: a trigger for each rule."""
    for state in TaskState:
        yield f"""
            CREATE TRIGGER IF NOT EXISTS task_from_{state} BEFORE UPDATE OF state ON task
            WHEN OLD.state = '{state}' AND NEW.state NOT IN ({_steps(state)})
            BEGIN SELECT RAISE(ABORT, '{_NO_STEP}'); END"""
    yield f"""
        CREATE TRIGGER IF NOT EXISTS task_ended_stays BEFORE UPDATE OF {", ".join(_KEPT)} ON task
        WHEN OLD.state IN ({_FINAL}) BEGIN SELECT RAISE(ABORT, '{_ENDED}'); END"""
    yield f"""
        CREATE TRIGGER IF NOT EXISTS task_is_kept BEFORE DELETE ON task
        WHEN OLD.state NOT IN ({_FINAL}) BEGIN SELECT RAISE(ABORT, '{_NOT_ENDED}'); END"""
    yield f"""
        CREATE TRIGGER IF NOT EXISTS task_begins BEFORE INSERT ON task
        WHEN NEW.state <> 'queued' BEGIN SELECT RAISE(ABORT, '{_BEGINS}'); END"""
    yield f"""
        CREATE TRIGGER IF NOT EXISTS task_claim BEFORE UPDATE OF state ON task
        WHEN OLD.state = 'queued' AND NEW.state = 'running' AND NEW.token <= OLD.token
        BEGIN SELECT RAISE(ABORT, '{_TOKEN}'); END"""


def postgresql() -> Iterator[str]:
    """For PostgreSQL: one function, called where a rule may be broken."""
    cases = "\n".join(
        f"WHEN OLD.state = '{state}' AND NEW.state NOT IN ({_steps(state)}) THEN RAISE EXCEPTION '{_NO_STEP}';"
        for state in TaskState
        if not state.final
    )
    yield f"""
        CREATE OR REPLACE FUNCTION task_guard() RETURNS trigger LANGUAGE plpgsql AS $guard$
        BEGIN
            IF TG_OP = 'INSERT' THEN RAISE EXCEPTION '{_BEGINS}'; END IF;
            IF TG_OP = 'DELETE' THEN RAISE EXCEPTION '{_NOT_ENDED}'; END IF;
            IF OLD.state IN ({_FINAL}) THEN RAISE EXCEPTION '{_ENDED}'; END IF;
            CASE
                {cases}
                WHEN OLD.state = 'queued' AND NEW.state = 'running' AND NEW.token <= OLD.token THEN
                    RAISE EXCEPTION '{_TOKEN}';
                ELSE NULL;
            END CASE;
            RETURN NEW;
        END $guard$"""
    kept = ", ".join(f"OLD.{name}" for name in _KEPT), ", ".join(f"NEW.{name}" for name in _KEPT)
    rules = {
        "task_begins": "BEFORE INSERT ON task FOR EACH ROW WHEN (NEW.state <> 'queued')",
        "task_is_kept": f"BEFORE DELETE ON task FOR EACH ROW WHEN (OLD.state NOT IN ({_FINAL}))",
        "task_steps": "BEFORE UPDATE OF state, token ON task FOR EACH ROW WHEN (OLD.state <> NEW.state)",
        "task_ended_stays": f"BEFORE UPDATE ON task FOR EACH ROW WHEN (OLD.state IN ({_FINAL})"
        f" AND ROW({kept[0]}) IS DISTINCT FROM ROW({kept[1]}))",
    }
    for name, rule in rules.items():
        yield f"DROP TRIGGER IF EXISTS {name} ON task"
        yield f"CREATE TRIGGER {name} {rule} EXECUTE FUNCTION task_guard()"


def mysql() -> Iterator[str]:
    """For MariaDB and MySQL: one trigger for each kind of statement."""
    same = " AND ".join(f"OLD.`{name}` <=> NEW.`{name}`" for name in _KEPT)
    steps = "\n".join(
        f"ELSEIF OLD.state = '{state}' AND NEW.state NOT IN ({_steps(state)}) THEN {_signal(_NO_STEP)}"
        for state in TaskState
        if not state.final
    )
    rules = {
        "task_begins": f"BEFORE INSERT ON task FOR EACH ROW IF NEW.state <> 'queued' THEN {_signal(_BEGINS)} END IF",
        "task_is_kept": "BEFORE DELETE ON task FOR EACH ROW"
        f" IF OLD.state NOT IN ({_FINAL}) THEN {_signal(_NOT_ENDED)} END IF",
        "task_steps": f"""BEFORE UPDATE ON task FOR EACH ROW
            IF OLD.state IN ({_FINAL}) THEN
                IF NOT ({same}) THEN {_signal(_ENDED)} END IF;
            {steps}
            ELSEIF OLD.state = 'queued' AND NEW.state = 'running' AND NEW.token <= OLD.token THEN {_signal(_TOKEN)}
            END IF""",
    }
    for name, rule in rules.items():
        yield f"DROP TRIGGER IF EXISTS {name}"
        yield f"CREATE TRIGGER {name} {rule}"


def _signal(message: str) -> str:
    return f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{message}';"
