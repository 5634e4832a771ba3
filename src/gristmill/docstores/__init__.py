"""Doc stores: adapters of ``ports.docstore.DocStore``."""

from __future__ import annotations

from gristmill.base.registry import Registry
from gristmill.ports.docstore import DocStore

DOCSTORES: Registry[DocStore] = Registry("gristmill.docstores", {"sqlite": "gristmill.docstores.sqlite:SqliteDocStore"})
