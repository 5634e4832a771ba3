"""One MariaDB."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

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
            "--innodb-flush-log-at-trx-commit=0",
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
