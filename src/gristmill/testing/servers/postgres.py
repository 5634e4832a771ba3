"""One PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pg8000.exceptions
import pg8000.native

from gristmill.testing.servers.process import PATIENCE, Server, ServerFailed
from gristmill.testing.servers.programs import postgres_programs

_Connection: Any = pg8000.native.Connection  # it has no types
_errors: Any = pg8000.exceptions
_USER = "postgres"
_EMPTY = """
DO $$ DECLARE one text; BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    SET LOCAL session_replication_role = replica;
    FOR one IN SELECT quote_ident(tablename) FROM pg_tables
        WHERE schemaname = 'public' AND tablename NOT LIKE '%version%'
    LOOP EXECUTE 'DELETE FROM ' || one; END LOOP;
END $$
"""


class PostgresServer(Server):
    """PostgreSQL with one empty database; ``config`` are further settings (``"max_connections=20"``),
    ``programs`` the folder of another version's.

    It refuses to run as root, so root runs it as ``nobody``. Nothing is forced to the disk: it survives its own
    end and SIGKILL, not the machine's.
    """

    name = "postgres"

    def __init__(self, *, config: Sequence[str] = (), programs: Path | None = None) -> None:
        super().__init__()
        self._programs = programs or postgres_programs()
        self._config = tuple(config)
        self._cleaners: dict[str, Any] = {}

    @property
    def url(self) -> str:
        """For SQLAlchemy, without a driver's name, as the owner of everything."""
        return self.url_for("postgres")

    def url_for(self, database: str, *, port: int | None = None) -> str:
        """Another database of it; through another port, where a proxy stands before it."""
        return f"postgresql://{_USER}@127.0.0.1:{port or self.port}/{database}"

    def execute(self, statement: str, *, database: str = "postgres") -> list[list[Any]]:
        """Run one statement as the owner of everything, over a connection of its own; its rows."""
        with self._connected(database) as connection:
            return connection.run(statement) or []

    def create_database(self, name: str) -> str:
        """A new, empty database; its URL."""
        self.execute(f'CREATE DATABASE "{name}"')
        return self.url_for(name)

    def drop_database(self, name: str) -> None:
        """Remove it, whoever is connected."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def empty(self, database: str = "postgres") -> None:
        """Delete all rows of all tables but those that say which migrations ran; ends who still uses it.

        The connection for that is kept: a fresh one costs ten times as much as the deletes.
        """
        if database not in self._cleaners:
            self._cleaners[database] = self._connected(database)
        try:
            self._cleaners[database].run(_EMPTY)
        except _errors.InterfaceError:  # somebody has ended it
            _hang_up(self._cleaners.pop(database))
            self.execute(_EMPTY, database=database)

    def _reap(self) -> None:
        while self._cleaners:
            _hang_up(self._cleaners.popitem()[1])
        super()._reap()

    def _connected(self, database: str) -> Any:
        return _Connection(
            _USER,
            database=database,
            unix_sock=str(self.folder / f".s.PGSQL.{self.port}"),
            timeout=PATIENCE,
            ssl_context=False,  # else it reads all the authorities of this machine, each time
        )

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _command(self) -> list[str]:
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.folder}",
            "fsync=off",
            "full_page_writes=off",
            "dynamic_shared_memory_type=mmap",  # in its folder: a killed one leaves nothing behind
            "shared_buffers=32MB",
            "max_connections=200",
            *self._config,
        ]
        options = [part for setting in settings for part in ("-c", setting)]
        return [str(self._programs / "postgres"), "-D", str(self._data), *options]

    def _prepare(self) -> None:
        if self._data.exists():
            (self._data / "postmaster.pid").unlink(missing_ok=True)  # of a killed one, whose number may be taken
            return
        if (owner := _unprivileged()) is not None:
            self.folder.chmod(0o755)
            os.chown(self.folder, *owner)
            self._bring_programs()
        command = [str(self._programs / "initdb"), "-D", str(self._data), "-U", _USER, "-A", "trust"]
        command += ["-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        done = self._spawn(command).wait()
        if done != 0:
            raise ServerFailed(f"initdb failed:\n{self._log_end()}")

    def _bring_programs(self) -> None:
        """Copy them to our folder, if they are where only root may go."""
        try:
            self._spawn([str(self._programs / "postgres"), "--version"]).wait()
        except PermissionError:
            package = self._programs.parent.parent
            for part in (package, package.with_name(f"{package.name}.libs")):  # where the wheel has its libraries
                if part.is_dir():
                    shutil.copytree(part, self.folder / part.name)
            self._programs = self.folder / package.name / self._programs.relative_to(package)

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        owner = _unprivileged()
        if owner is None:
            return super()._spawn(command)
        user, group = owner
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603  our own command
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                user=user,
                group=group,
                extra_groups=[],
            )

    def _ready(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(self.pid) and lines[7].strip() == "ready"

    def _end(self, process: subprocess.Popen[bytes], *, keep_data: bool) -> None:
        process.send_signal(signal.SIGINT)  # SIGTERM would wait for the clients

    def _forget(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)


def _hang_up(connection: Any) -> None:
    """Close a connection that may be broken, with its stream, which pg8000 leaves to the collector."""
    stream = connection._sock
    with suppress(_errors.InterfaceError, OSError):
        connection.close()
    if stream is not None:
        with suppress(OSError, ValueError):
            stream.close()


def _unprivileged() -> tuple[int, int] | None:
    if os.getuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid
