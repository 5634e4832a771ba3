"""Names to classes: a line in a built-in table, or an entry point of an installed package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar, cast

from gristmill.base.errors import PluginError

T = TypeVar("T")


def imported(module: str) -> Any:
    """A module that is dear to import, when it is needed: nobody who does not need it pays for it."""
    return import_module(module)


class Registry(Generic[T]):
    """Looks a name up when it is asked for, never before: an extra nobody uses is never imported.

    ``builtin`` maps a name to ``"module:attribute"``; ``needs`` maps a name to the extra that must be installed for it.
    """

    def __init__(self, group: str, builtin: Mapping[str, str], needs: Mapping[str, str] | None = None) -> None:
        self.group = group
        self.builtin = dict(builtin)
        self._needs = dict(needs or {})

    def names(self) -> list[str]:
        """Every known name, built in or installed, sorted."""
        return sorted({*self.builtin, *self.installed()})

    def installed(self) -> list[str]:
        """The names that other packages add, sorted. They never take the place of one that is built in."""
        return sorted({point.name for point in entry_points(group=self.group)} - self.builtin.keys())

    def load(self, name: str) -> type[T]:
        """The class registered under ``name``. Raises PluginError, which says what to install or which names exist."""
        target = self.builtin.get(name) or self._plugin(name)
        module, _, attribute = target.partition(":")
        try:
            found: Any = getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as exc:
            extra = self._needs.get(name)
            hint = f"; install it with: pip install 'gristmill[{extra}]'" if extra else ""
            raise PluginError(f"{self.group}: {name!r} ({target}) cannot be imported: {exc}{hint}") from exc
        return cast("type[T]", found)

    def _plugin(self, name: str) -> str:
        for point in entry_points(group=self.group, name=name):
            return f"{point.module}:{point.attr}"
        raise PluginError(f"{self.group}: no {name!r}; known: {', '.join(self.names())}")
