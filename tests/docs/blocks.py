"""Code blocks of a Markdown page, and the one shell script that does all that the page says, in order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.M | re.S)
# What a reader does once and a test need not do again. It is checked instead.
_NOT_RUN = re.compile(r"^(?:make (?P<target>\w+)|pip install (?P<wanted>.+)|export PATH=.*)$")


@dataclass(frozen=True)
class Code:
    """A fenced block: its language, the file it stands for if any, and the line it begins on."""

    language: str
    title: str
    text: str
    line: int


def blocks(page: Path) -> list[Code]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        Code(found[1], found[2] or "", found[3], text.count("\n", 0, found.start()) + 1)
        for found in _FENCE.finditer(text)
    ]


def setting_up(page: Path) -> Iterator[re.Match[str]]:
    """The commands of a page that set up the machine: make targets, installations."""
    for block in blocks(page):
        if block.language == "bash":
            yield from filter(None, map(_NOT_RUN.match, block.text.splitlines()))


def script(page: Path) -> str:
    """A bash script of the page: shell as it is, Python through an interpreter, titled blocks written as files."""
    lines = [
        "set -euo pipefail",
        "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT",
        f"trap 'echo \"failed in {page.name}, block of line $BLOCK: $BASH_COMMAND\" >&2' ERR",
    ]
    for block in blocks(page):
        lines.append(f"BLOCK={block.line}")
        if block.title:
            folder = shlex.quote(str(Path(block.title).parent))
            lines.append(
                f"mkdir -p {folder}; cat > {shlex.quote(block.title)} <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK"
            )
        elif block.language == "bash":
            lines += [line for line in block.text.splitlines() if not _NOT_RUN.match(line)]
        elif block.language == "python":
            lines.append(f"python - <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK")
    return "\n".join(lines) + "\n"
