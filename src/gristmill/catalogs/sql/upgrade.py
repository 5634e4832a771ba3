"""Bringing a catalog's tables to the newest revision. Imported only when that is needed: Alembic takes its time."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config


def upgrade(connection: sa.Connection, revision: str = "head", *, more: Path | None = None) -> None:
    """Upgrade within the caller's transaction, who sees to it that of several processes one does it.

    ``more``: a folder with further revisions.
    """
    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    config.set_main_option("version_locations", os.pathsep.join(map(str, filter(None, (folder / "versions", more)))))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
