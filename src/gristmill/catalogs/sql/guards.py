"""Triggers by which the database itself keeps end states and the steps of a generation, whatever writes to it (P2, P4)."""

from __future__ import annotations

_RUN = "OLD.state IN ('done', 'failed', 'cancelled') AND NEW.state <> OLD.state"
_GENERATION = (
    "NOT (NEW.state = OLD.state OR (OLD.state = 'pending' AND NEW.state IN ('live', 'dead'))"
    " OR (OLD.state = 'live' AND NEW.state = 'retired'))"
)
_RULES = (  # trigger, table, what is refused, what is said
    ("run_final", "run", _RUN, "the end of a run does not change"),
    ("generation_step", "generation", _GENERATION, "no such step between states of a generation"),
)


def guards(dialect: str) -> list[str]:
    """The statements that set the guards up. They may be repeated."""
    return [statement for rule in _RULES for statement in _WRITE[dialect](*rule)]


def _sqlite(name: str, table: str, refused: str, said: str) -> list[str]:
    return [
        f"CREATE TRIGGER {name} BEFORE UPDATE OF state ON {table} WHEN {refused} BEGIN SELECT RAISE(ABORT, '{said}'); END"
    ]


def _postgresql(name: str, table: str, refused: str, said: str) -> list[str]:
    raised = f"RAISE EXCEPTION '{said}' USING ERRCODE = 'integrity_constraint_violation'"
    body = f"BEGIN IF {refused} THEN {raised}; END IF; RETURN NEW; END"
    return [
        f"CREATE OR REPLACE FUNCTION gristmill_{name}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$",
        f"CREATE TRIGGER {name} BEFORE UPDATE OF state ON {table} FOR EACH ROW EXECUTE FUNCTION gristmill_{name}()",
    ]


def _mysql(name: str, table: str, refused: str, said: str) -> list[str]:
    raised = f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{said}'"
    return [
        f"DROP TRIGGER IF EXISTS {name}",
        f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} FOR EACH ROW IF {refused} THEN {raised}; END IF",
    ]


_WRITE = {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql}
