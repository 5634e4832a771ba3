"""``gristmill debug``: looking into running processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from gristmill.base.errors import NotFound
from gristmill.cli.output import print_json, printable
from gristmill.engine import stacks

WITHIN = 3.0  # seconds that a process has to answer
_MODULES = {"gristmill.engine.supervisor": "master", "gristmill.engine.nursery": "nursery"}


@dataclass(frozen=True)
class Look:
    """What a process said. ``tasks`` are lines about what it runs."""

    pid: int
    role: str
    tasks: list[str]
    stack: str
    error: str = ""


@click.group("debug")
def command() -> None:
    """Look into running processes."""


@command.command("stacks")
@click.argument("pid", type=click.IntRange(1))
@click.option("--all", "whole", is_flag=True, help="Those of all its descendants, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_stacks(*, pid: int, whole: bool, as_json: bool) -> int:
    """Where a master, worker, nursery or runner is at this moment, and which tasks it runs.

    Works on processes of your own on this host (Linux), also when they hang. They go on as before.
    """
    if not Path(f"/proc/{pid}").is_dir():
        raise NotFound(f"there is no process {pid} on this host")
    found = (_look(one) for one in ([pid, *_descendants(pid)] if whole else [pid]))
    looks = [look for look in found if look is not None]
    if as_json:
        print_json({"processes": [vars(look) for look in looks]})
    else:
        click.echo("\n\n".join(_shown(look) for look in looks))
    return 1 if any(look.error for look in looks) or not looks else 0


def _shown(look: Look) -> str:
    lines = [f"== {look.role} {look.pid}", *look.tasks, *([f"({look.error})"] if look.error else []), "", look.stack]
    return printable("\n".join(lines).rstrip(), lines=True)


def _look(pid: int) -> Look | None:
    """What the process answers; None where it went away meanwhile, or is no process of ours among descendants."""
    role, state = _role(pid), _state(pid)
    if state.startswith("T"):
        return Look(pid, role, [], "", f"it is stopped, and cannot answer: its state is {state}")
    try:
        answer = stacks.ask(pid, within=WITHIN)
    except ProcessLookupError:
        return None
    except OSError as exc:
        return Look(pid, role, [], "", f"it cannot be asked: {exc.strerror}")
    if answer is None:
        return Look(pid, role, [], "", _why_silent(pid))
    stack, tasks = _parted(answer)
    if role == "runner" and not tasks:
        tasks = _by_keeper(pid)
    return Look(pid, role, tasks, stack, "" if stack else f"no answer within {WITHIN:g} s; its state is {state}")


def _parted(answer: str) -> tuple[str, list[str]]:
    """The stacks by the C code, and what Python said after an empty line."""
    paragraphs = answer.split("\n\n")
    said = [one for one in paragraphs if not one.startswith(("Thread 0x", "Current thread 0x"))]
    stack = [one for one in paragraphs if one not in said]
    return "\n\n".join(stack), [line for one in said for line in one.splitlines() if line.strip()]


def _by_keeper(pid: int) -> list[str]:
    """What its keeper says of a runner that hangs so that it cannot say itself what it runs."""
    keeper = _parent(_parent(pid))
    try:
        answer = stacks.ask(keeper, within=WITHIN) or ""
    except OSError:
        return []
    return [line.partition(": ")[2] for line in answer.splitlines() if line.startswith(f"runner {pid}: ")]


def _role(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return "process"
    found = next((role for module, role in _MODULES.items() if module in words), "")
    if found == "nursery" and _role(_parent(pid)) == "nursery":
        return "runner"
    return found or ("worker" if stacks.file_of(pid) else "process")


def _why_silent(pid: int) -> str:
    try:
        next(Path(f"/proc/{pid}/fd").iterdir(), None)
    except PermissionError:
        return "it belongs to another user: ask as that user, or as root"
    return "it is no process of Gristmill's, or has only just begun"


def _parent(pid: int) -> int:
    return int(_status(pid).get("PPid", "0"))


def _state(pid: int) -> str:
    return _status(pid).get("State", "unknown")


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _descendants(pid: int) -> list[int]:
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [one for child in map(int, found) for one in (child, *_descendants(child))]
