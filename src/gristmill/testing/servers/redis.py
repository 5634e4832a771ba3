"""One Valkey or Redis."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import hiredis

from gristmill.testing.servers.process import PATIENCE, Server
from gristmill.testing.servers.programs import redis_program

ReplyError = hiredis.ReplyError


class RedisServer(Server):
    """A Valkey or Redis of one of ``REDIS_KINDS``, without persistence unless ``appendonly``.

    ``config`` are further lines of its configuration (``"maxmemory 2mb"``); what they are at a start holds.
    ``users`` are ACL rules (``"worker on >secret ~q:* +@all"``). ``certificates`` is a folder with ``ca.pem`` and
    ``server.pem``: it then speaks TLS on its port. Commands of the tests come over its own socket in its folder, as
    the administrator, whatever happens to the network, the port and the default user.
    """

    def __init__(
        self,
        kind: str = "valkey-9",
        *,
        password: str | None = None,
        users: Sequence[str] = (),
        certificates: Path | None = None,
        appendonly: bool = False,
        config: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.program = redis_program(kind)
        self.kind = self.name = kind
        self.password = password
        self.certificates = certificates
        self._users = tuple(users)
        self._appendonly = appendonly
        self.config = tuple(config)
        self._admin: AdminConnection | None = None

    @property
    def version(self) -> tuple[int, ...]:
        """What the program says it is."""
        return self.program.version

    @property
    def url(self) -> str:
        """As the default user, database 0."""
        return self.url_for(password=self.password)

    def url_for(self, user: str = "", password: str | None = None, *, port: int | None = None) -> str:
        """As this user; through another port, where a proxy stands before it."""
        who = "" if password is None else f"{quote(user, safe='')}:{quote(password, safe='')}@"
        port = port or self.port
        if self.certificates is None:
            return f"redis://{who}127.0.0.1:{port}/0"
        return f"rediss://{who}127.0.0.1:{port}/0?ssl_ca_certs={quote(str(self.certificates / 'ca.pem'))}"

    def command(self, *arguments: str | bytes | int | float) -> Any:
        """Send one command as the administrator and return its answer (bytes, int, list); raises ``ReplyError``."""
        if self._admin is None:
            self._admin = AdminConnection(self._socket)
        try:
            return self._admin.command(*arguments)
        except OSError:
            self.hang_up()
            raise

    def connect(self) -> AdminConnection:
        """Another connection of the administrator, which may send a command without waiting for its answer."""
        return AdminConnection(self._socket)

    def hang_up(self) -> None:
        """Close the administrator's connection; the next command opens a new one."""
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def info(self, section: str = "all") -> dict[str, str]:
        """What INFO says."""
        text = self.command("INFO", section).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    @property
    def _socket(self) -> Path:
        return self.folder / "socket"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _command(self) -> list[str]:
        return [str(self.program.path), str(self.folder / "server.conf")]

    def _prepare(self) -> None:
        self._data.mkdir(exist_ok=True)
        (self.folder / "server.conf").write_text("\n".join(self._lines()) + "\n")

    def _lines(self) -> list[str]:
        lines = [
            "bind 127.0.0.1",
            f"dir {self._data}",
            f"unixsocket {self._socket}",
            "daemonize no",
            'save ""',
            f"appendonly {'yes' if self._appendonly else 'no'}",
            "appendfsync always",
            "repl-diskless-sync-delay 0",  # five seconds otherwise before a replica has its first data
        ]
        lines += self._port_lines()
        if self.version >= (7,):
            lines.append("enable-debug-command yes")
        if self.password is not None:
            # The administrator comes by the socket, which only we can open, and needs no password.
            lines.append(f"user default on >{self.password} ~* &* +@all")
        lines += [f"user {rule}" for rule in self._users]
        lines.append(f"user {ADMIN} on >{ADMIN} ~* &* +@all")
        return [*lines, *self.config]

    def _port_lines(self) -> list[str]:
        if self.certificates is None:
            return [f"port {self.port}"]
        return [
            "port 0",
            f"tls-port {self.port}",
            f"tls-cert-file {self.certificates / 'server.pem'}",
            f"tls-key-file {self.certificates / 'server.pem'}",
            f"tls-ca-cert-file {self.certificates / 'ca.pem'}",
            "tls-auth-clients no",
        ]

    def _ready(self) -> bool:
        try:
            return self.command("PING") == b"PONG" and self.info("server")["process_id"] == str(self.pid)
        except (OSError, ReplyError):
            return False

    def _end(self, process: subprocess.Popen[bytes], *, keep_data: bool) -> None:
        try:
            if keep_data:
                self.command("SAVE")
            self.command("SHUTDOWN", "NOSAVE")
        except (OSError, ReplyError):
            process.send_signal(signal.SIGTERM)

    def _reap(self) -> None:
        self.hang_up()
        super()._reap()

    def _forget(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)


ADMIN = "gristmill-tests"


class AdminConnection:
    """One connection, that of an administrator."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._reader = hiredis.Reader()
        try:
            self._socket.connect(str(path))
            self.command("AUTH", ADMIN, ADMIN)
        except BaseException:
            self.close()
            raise

    def command(self, *arguments: str | bytes | int | float) -> Any:
        """Send a command and return its answer; raises ``ReplyError``."""
        self.send(*arguments)
        return self.answer()

    def send(self, *arguments: str | bytes | int | float) -> None:
        """Send a command."""
        self._socket.sendall(hiredis.pack_command(arguments))  # type: ignore[arg-type]  # its stub means one argument

    def answer(self) -> Any:
        """Wait for the next answer; raises ``ReplyError``."""
        while (answer := self._reader.gets()) is False:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            self._reader.feed(data)
        if isinstance(answer, ReplyError):
            raise answer
        return answer

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
