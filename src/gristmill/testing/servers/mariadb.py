"""One MariaDB."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pymysql
import pymysql.cursors

from gristmill.testing.servers.process import PATIENCE, Server, ServerFailed
from gristmill.testing.servers.programs import system_program

_INSTALL = "apt-get install mariadb-server"


class MariaServer(Server):
    """MariaDB with one empty database; ``config`` are further options (``"max-connections=20"``).

    Nothing is forced to the disk: it survives its own end and SIGKILL, not the machine's.
    """

    name = "mariadb"

    def __init__(self, *, config: Sequence[str] = ()) -> None:
        super().__init__()
        self._program = system_program("mariadbd", _INSTALL)
        self._installer = system_program("mariadb-install-db", _INSTALL)
        self._config = tuple(config)

    @property
    def url(self) -> str:
        """For SQLAlchemy, without a driver's name, as root without a password."""
        return self.url_for("gristmill")

    def url_for(self, database: str, *, port: int | None = None) -> str:
        """Another database of it; through another port, where a proxy stands before it."""
        return f"mysql://root@127.0.0.1:{port or self.port}/{database}"

    def execute(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run statements as root, over a connection of its own; the rows of the last."""
        with self._connected(database) as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def create_database(self, name: str) -> str:
        """A new, empty database; its URL."""
        self.execute(f"CREATE DATABASE `{name}`")
        return self.url_for(name)

    def drop_database(self, name: str) -> None:
        """Remove it."""
        self.execute(f"DROP DATABASE IF EXISTS `{name}`")

    def empty(self, database: str = "gristmill") -> None:
        """Delete all rows of all tables but those that say which migrations ran; ends who still uses it."""
        with self._connected(database) as cursor:
            cursor.execute(
                "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
            for (user,) in cursor.fetchall():
                with suppress(pymysql.err.OperationalError):  # gone by itself
                    cursor.execute(f"KILL {user}")
            cursor.execute("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'")
            tables = [name for name, _ in cursor.fetchall() if "version" not in name]
            if not tables:
                return
            cursor.execute(" UNION ALL ".join(f"(SELECT '{table}' FROM `{table}` LIMIT 1)" for table in tables))  # noqa: S608
            full = [name for (name,) in cursor.fetchall()]
            cursor.execute("SET foreign_key_checks = 0")
            if full:
                cursor.execute("SHOW TRIGGERS")
                guarded = {row[2] for row in cursor.fetchall()}
                for table in full:  # a truncate makes the table anew, and costs as much as the rest together
                    cursor.execute(f"TRUNCATE `{table}`" if table in guarded else f"DELETE FROM `{table}`")  # noqa: S608

    @contextmanager
    def _connected(self, database: str | None = None) -> Iterator[pymysql.cursors.Cursor]:
        with (
            closing(
                pymysql.connect(
                    unix_socket=str(self._socket),
                    user="root",
                    database=database,
                    autocommit=True,
                    ssl_disabled=True,  # else it reads all the authorities of this machine, each time
                    read_timeout=PATIENCE,
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            yield cursor

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _socket(self) -> Path:
        return self.folder / "socket"

    @property
    def _options(self) -> list[str]:
        return [
            "--no-defaults",
            f"--datadir={self._data}",
            f"--user={pwd.getpwuid(os.getuid()).pw_name}",
            "--innodb-log-file-size=8M",
            f"--tmpdir={self.folder}",  # one that starts removes the tables of all others that share it
        ]

    def _command(self) -> list[str]:
        return [
            str(self._program),
            *self._options,
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self._socket}",
            f"--pid-file={self.folder / 'pid'}",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",  # the built-in one is latin1
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-buffer-pool-size=64M",
            "--performance-schema=off",
            "--max-connections=200",
            *(f"--{setting}" for setting in self._config),
        ]

    def _prepare(self) -> None:
        if self._data.exists():
            return
        command = [str(self._installer), *self._options, "--skip-test-db", "--auth-root-authentication-method=normal"]
        if self._spawn(command).wait() != 0:
            raise ServerFailed(f"mariadb-install-db failed:\n{self._log_end()}")
        (self._data / "gristmill").mkdir()  # a database is a folder

    def _ready(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(PATIENCE)
                probe.connect(str(self._socket))
                return len(probe.recv(5)) > 4  # its greeting; an error (too many connections) is one, too
        except OSError:
            return False

    def _forget(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
