"""What databases of several hosts need: paths as keys by their digest, turns, and which older release still runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gristmill.base.ids import digest
from gristmill.catalogs.sql.types import TABLE, Name, Words

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_AT_ONCE = 1000


def upgrade() -> None:
    connection = op.get_bind()
    old = sa.table("seen_file", *(sa.column(name) for name in ("dataset_id", "path", "size", "mtime", "digest")))
    kept = [dict(row) for row in connection.execute(sa.select(old)).mappings()]
    op.drop_table("seen_file")
    seen_file = op.create_table(
        "seen_file",
        sa.Column("dataset_id", Name(64), primary_key=True),
        sa.Column("path_digest", Name(64), primary_key=True),
        sa.Column("path", Words, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime", sa.BigInteger, nullable=False),
        sa.Column("digest", Name(64), nullable=False),
        **TABLE,
    )
    for first in range(0, len(kept), _AT_ONCE):
        rows = [row | {"path_digest": digest(row["path"])} for row in kept[first : first + _AT_ONCE]]
        connection.execute(seen_file.insert(), rows)
    catalog_version = op.create_table(
        "catalog_version",
        sa.Column("revision", Name(32), primary_key=True),
        sa.Column("compatible_with", Name(32), nullable=False),
        **TABLE,
    )
    turn = op.create_table("turn", sa.Column("name", Name(32), primary_key=True), **TABLE)
    connection.execute(catalog_version.insert().values(revision="0003", compatible_with="0003"))
    connection.execute(turn.insert().values(name="generation"))
