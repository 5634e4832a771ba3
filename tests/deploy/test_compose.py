"""The compose file: Docker Compose can read it, and what it says fits what the program does."""

from __future__ import annotations

import json
import re
import socket
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from deploy.reading import DEPLOY, LEAST_STOP, MIB, PATIENCE, memory, options, ran, settings
from gristmill.testing.servers import RedisServer

OURS = ("gristmill", "workers")
SERVERS = ("valkey", "postgres", "s3", "elasticsearch")
SECRETS = ("postgres_password", "redis_password")


@cache
def compose(*profiles: str) -> dict[str, Any]:
    """The file as Docker Compose understands it, with these profiles."""
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    found = ran("docker-compose", *chosen, "--file", DEPLOY / "compose.yaml", "config", "--format", "json")
    read: dict[str, Any] = json.loads(found)
    return read


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = compose("*")["services"][name]
    return found


def test_only_what_this_release_uses_is_started_unless_more_is_asked_for() -> None:
    assert set(compose()["services"]) == {"gristmill", "valkey", "postgres"}
    assert set(compose("*")["services"]) == {*OURS, *SERVERS}


@pytest.mark.parametrize("name", OURS)
def test_its_environment_is_settings_and_these_lead_to_the_servers(name: str, tmp_path: Path) -> None:
    environ = dict(service(name)["environment"])
    for key in [key for key in environ if key.endswith("_FILE")]:
        (tmp_path / Path(environ[key]).name).write_text(f"{key} of a file\n", encoding="utf-8")
        environ[key] = str(tmp_path / Path(environ[key]).name)
    read = settings(environ, tmp_path)
    assert read.broker_url == "redis://:REDIS_PASSWORD_FILE%20of%20a%20file@valkey:6379/1"
    assert re.match(
        r"postgresql://gristmill:POSTGRES_PASSWORD_FILE%20of%20a%20file@postgres:5432/gristmill\b", read.catalog_url
    )


@pytest.mark.parametrize("name", OURS)
def test_it_has_time_to_stop_and_the_memory_that_its_tasks_may_use(name: str, tmp_path: Path) -> None:
    found = service(name)
    environ = {key: value for key, value in found["environment"].items() if not key.endswith("_FILE")}
    own, given = settings(environ, tmp_path).worker, options(found["command"])
    tmp = re.match(r"/tmp:size=(\d+)m,", found["tmpfs"][0])
    assert own.memory_limit is not None
    assert tmp is not None
    needed = memory(found["command"][0], given["workers"], given["slots"], own.memory_limit) + int(tmp[1])
    assert int(found["mem_limit"]) == needed * MIB
    assert seconds(found["stop_grace_period"]) >= own.grace_seconds + LEAST_STOP


def seconds(text: str) -> int:
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([hms])", text))


@pytest.mark.parametrize("name", OURS)
def test_it_may_do_nothing_that_it_need_not(name: str) -> None:
    found = service(name)
    assert (found["read_only"], found["cap_drop"], found["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert not {"privileged", "cap_add", "user", "init", "network_mode", "pid"} & set(found)
    writable = [volume["target"] for volume in found["volumes"] if not volume.get("read_only")]
    assert writable == ["/var/lib/gristmill"]


@pytest.mark.parametrize("name", OURS)
def test_it_waits_until_its_servers_are_there(name: str) -> None:
    needed = service(name)["depends_on"]
    assert {one: how["condition"] for one, how in needed.items()} == dict.fromkeys(
        ("valkey", "postgres"), "service_healthy"
    )


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_pinned_bounded_and_tells_how_it_is(name: str) -> None:
    found = service(name)
    assert re.search(r":\d[\w.-]*$", found["image"])
    assert found["healthcheck"]["test"]
    assert int(found["mem_limit"]) > 0
    assert "no-new-privileges:true" in found["security_opt"]


def test_nothing_listens_to_other_hosts() -> None:
    ports = [port for one in compose("*")["services"].values() for port in one.get("ports", ())]
    assert [(port["host_ip"], port["target"]) for port in ports] == [("127.0.0.1", 9380), ("127.0.0.1", 9381)]


def test_passwords_come_by_files_that_are_not_kept_with_the_code() -> None:
    for one in compose("*")["services"].values():
        assert not [key for key in one.get("environment", ()) if re.search(r"PASSWORD$|SECRET|TOKEN", key)]
    found = compose("*")["secrets"]
    assert {name: Path(found[name]["file"]).parent for name in found} == dict.fromkeys(SECRETS, DEPLOY / "secrets")
    assert "/deploy/secrets/\n" in (DEPLOY.parent / ".gitignore").read_text(encoding="utf-8")


class Composed(RedisServer):
    """The command of the container of Valkey, run here: with the tests' port and folder, and a password in a file."""

    def _command(self) -> list[str]:
        (self.folder / "redis_password").write_text("of a file\n", encoding="utf-8")
        found = service("valkey")
        script = (
            found["command"][0].replace("$$", "$").replace("docker-entrypoint.sh valkey-server", str(self.program.path))
        )
        script = script.replace("/run/secrets", str(self.folder)).replace("dir /data", "\n".join(self._lines()))
        return [*found["entrypoint"], script]


def test_valkey_is_the_first_process_wants_the_password_of_the_file_and_throws_nothing_away() -> None:
    with Composed() as server:  # it is ready when the process that was started is the server itself
        assert server.command("CONFIG", "GET", "maxmemory-policy") == [b"maxmemory-policy", b"noeviction"]
        assert b"of a file" not in Path(f"/proc/{server.pid}/cmdline").read_bytes()
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as link:
            link.sendall(b'PING\r\nAUTH "of a file"\r\nPING\r\nQUIT\r\n')
            said = b"".join(iter(lambda: link.recv(4096), b"")).splitlines()
    assert said[0].startswith(b"-NOAUTH")
    assert said[1:] == [b"+OK", b"+PONG", b"+OK"]
