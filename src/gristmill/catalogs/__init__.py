"""Catalogs: adapters of ``ports.catalog.Catalog`` and ``ports.cache.StageCache``."""

from __future__ import annotations

from gristmill.base.registry import Registry
from gristmill.ports.cache import StageCache
from gristmill.ports.catalog import Catalog

_SQL = "gristmill.catalogs.sql.catalog:SqlCatalog"
CATALOGS: Registry[Catalog] = Registry(
    "gristmill.catalogs",
    {"sqlite": _SQL, "postgresql": _SQL, "postgres": _SQL, "mysql": _SQL, "mariadb": _SQL},
)
CACHES: Registry[StageCache] = Registry("gristmill.caches", {"sqlite": "gristmill.catalogs.cache:SqlCache"})
