"""Alembic's revisions of the catalog's tables.

Rules, because hosts are upgraded one after the other:

- Expand first: add tables, columns (nullable, or with a server's default), indexes. The release before must run on what it
  finds then, reading and writing as ever; the migration says so with ``compatible_with`` in its row of ``catalog_version``:
  the oldest revision whose code still runs. A test brings a made-up migration of this kind in and runs this release on it.
- Contract later: what no release back to the last contracting one uses may be renamed or removed. Such a migration names
  itself in ``compatible_with``, and older releases refuse the database.
- The same revisions on every database. Where DDL ends a transaction (MariaDB, MySQL) a migration may be interrupted anywhere:
  from 0004 on (before it no server had a catalog) each step must find what it has already done (``if_not_exists``).
- ``fresh.create`` makes what all migrations come to. A test compares the two.
"""
