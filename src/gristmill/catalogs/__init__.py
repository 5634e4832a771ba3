"""Catalogs: adapters of ``ports.catalog.Catalog`` and ``ports.cache.StageCache``."""

from __future__ import annotations

from gristmill.base.registry import Registry
from gristmill.ports.cache import StageCache
from gristmill.ports.catalog import Catalog

CATALOGS: Registry[Catalog] = Registry("gristmill.catalogs", {"sqlite": "gristmill.catalogs.sql.catalog:SqlCatalog"})
CACHES: Registry[StageCache] = Registry("gristmill.caches", {"sqlite": "gristmill.catalogs.cache:SqlCache"})
