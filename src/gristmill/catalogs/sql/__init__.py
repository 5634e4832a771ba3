"""The catalog in a SQL database: SQLite in this release, written so that others are dialects."""
