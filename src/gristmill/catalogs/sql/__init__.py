"""The catalog in a SQL database: SQLite, PostgreSQL, MariaDB and MySQL."""
