"""What was given up and waits for a sweep; counting a dataset's chunks reads an index alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gristmill.catalogs.sql.types import TABLE, Moment, Name

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "released",
        sa.Column("tenant", Name(128), primary_key=True),
        sa.Column("kind", Name(16), primary_key=True),
        sa.Column("name", Name(64), primary_key=True),
        sa.Column("at", Moment, nullable=False),
        **TABLE,
    )
    op.create_index("document_counts", "document", ["dataset_id", "chunks"])
