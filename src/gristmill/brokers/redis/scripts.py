"""The steps of the store: Lua, one script each."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files


class Script:
    """A step: its text and the name the store knows it by."""

    def __init__(self, name: str) -> None:
        folder = files(__package__) / "scripts"
        step = (folder / f"{name}.lua").read_text("utf-8")
        self.name = name
        self.text = ((folder / "common.lua").read_text("utf-8") + step).encode()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


@cache
def script(name: str) -> Script:
    """The step of that name."""
    return Script(name)
