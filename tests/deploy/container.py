"""The image without a container engine: its build steps run as they are written, and what they make runs in namespaces.

Needs root, and programs of util-linux. What is writable in there is the home, a folder of this machine, and /tmp.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from deploy.reading import PATIENCE, ROOT, dockerfile, environment, program
from gristmill.testing.servers.process import free_port

USER = 10001
HOME = "var/lib/gristmill"

BUILD = """
mount --make-rprivate /
mount --bind "$1/opt" /opt
cd "$1/build"
"""

# $1 the folder, $2 where the interpreter is that the environment was made with, $3 documents; then the command.
START = """
folder=$1 base=$2 documents=$3 root=$1/root
shift 3
mount --make-rprivate /
mount --bind / "$root"
mount -t tmpfs -o mode=755 none "$root/var/lib" && mkdir "$root/var/lib/gristmill"
mount -t tmpfs -o mode=755 none "$root/root" && mkdir -p "$root$base"
mount --bind "$folder/opt" "$root/opt"
mount --bind "$base" "$root$base"
mount --bind "$documents" "$root/srv"
for place in "" /opt "$base" /srv /var/lib /root; do mount -o remount,bind,ro "$root$place"; done
mount --bind "$folder/home" "$root/var/lib/gristmill"
mount -t tmpfs -o size=512m,mode=1777 none "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec setpriv --no-new-privs chroot --userspec=10001:10001 --groups=10001 "$root" env -i "$@"
"""


def build(folder: Path, extras: str) -> None:
    """Run the steps of the build stage: what they make is in ``opt`` of the folder."""
    for name in ("opt", "build", "root", "home"):
        (folder / name).mkdir()
    os.chown(folder / "home", USER, USER)
    first = dockerfile()[0]
    for step in first:
        if step.word == "COPY":
            for name in step.rest.split()[:-1]:
                _copy(ROOT / name, folder / "build" / name)
    commands = [re.sub(r"--mount=\S+ +", "", step.rest) for step in first if step.word == "RUN"]
    done = subprocess.run(
        [program("unshare"), "--mount", "sh", "-euc", BUILD + "\n".join(commands), "sh", folder],
        env={**os.environ, "PATH": f"{sys.base_prefix}/bin:{os.defpath}", "EXTRAS": extras},  # noqa: TID251  passed on
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    else:
        shutil.copy(source, target)


class Container:
    """The image's command, or another one, as the first process of its own namespaces; within a block."""

    def __init__(self, folder: Path, words: Sequence[str], *, port: int, documents: Path) -> None:
        self._folder = folder
        self._outer = [program("unshare"), "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", START, "sh"]
        last = dockerfile()[-1]
        environ = environment(last) | {
            "GRISTMILL_SUPERVISOR__HEALTH": f"127.0.0.1:{port}",
            "GRISTMILL_RAGFLOW__HOST": "127.0.0.1",
            "GRISTMILL_RAGFLOW__HTTP_PORT": str(free_port()),
        }
        environ["PATH"] = environ["PATH"].replace("$PATH", "/usr/bin:/bin")
        self._environ = [f"{name}={value}" for name, value in environ.items()]
        [entry] = [step.words for step in last if step.word == "ENTRYPOINT"]
        self._words = [folder, sys.base_prefix, documents, *self._environ, *entry, *words]

    def __enter__(self) -> Self:
        self.log = self._folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*self._outer, *map(str, self._words)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # and with it all that is in there
        self.process.kill()
        self.process.wait()

    @property
    def pid(self) -> int:
        """The first process, as this machine numbers it."""
        outer = self.process.pid
        found: list[str] = []
        with suppress(OSError):
            found = Path(f"/proc/{outer}/task/{outer}/children").read_text(encoding="ascii").split()
        if not found:
            raise ProcessLookupError(f"it has ended:\n{self.log.read_text(encoding='utf-8')}")
        return int(found[0])

    def status(self) -> dict[str, list[str]]:
        """What the kernel says of the first process."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
        return {name: values.split() for name, _, values in (line.partition(":") for line in lines)}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command beside it, as ``docker exec`` would run it."""
        inside = ["--mount", "--pid", "--root", f"--setuid={USER}", f"--setgid={USER}", f"--target={self.pid}"]
        return subprocess.run(
            [program("nsenter"), *inside, "env", "-i", *self._environ, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
