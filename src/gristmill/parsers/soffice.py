"""Old office formats to new ones by LibreOffice, where it is installed: our readers can't read them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from gristmill.base.confine import programs_allowed
from gristmill.base.errors import DamagedDocument, UnsupportedDocument
from gristmill.base.scratch import scratch
from gristmill.ports.parser import Source

_SECONDS = 120.0
_NAMES = ("soffice", "libreoffice")
_NOWHERE = "http://127.0.0.1:9"  # the proxy of a program that is to reach nobody
_PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="DisableMacrosExecution" oor:op="fuse">
<value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="MacroSecurityLevel" oor:op="fuse">
<value>3</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="BlockUntrustedRefererLinks" oor:op="fuse">
<value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="DisableActiveContent" oor:op="fuse">
<value>true</value></prop></item>
</oor:items>
"""


def converted(source: Source, to: str, what: str, *, seconds: float = _SECONDS) -> bytes:
    """The document in the format with this ending, made by LibreOffice in a profile of its own: no macro, no link.

    It runs in the process group of whoever parses, so that whatever ends that one ends it, too. Raises
    UnsupportedDocument where it is not installed, DamagedDocument where it makes nothing of the document in time.
    """
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        raise UnsupportedDocument(
            f"{source.name} is {what}, which only LibreOffice reads, and there is no soffice on this host. "
            "Install LibreOffice, or save the document in a newer format."
        )
    with scratch() as folder:
        return _run(program, Path(folder), source, to, seconds)


def _run(program: str, folder: Path, source: Source, to: str, seconds: float) -> bytes:
    (folder / "profile" / "user").mkdir(parents=True)
    (folder / "profile" / "user" / "registrymodifications.xcu").write_text(_PROFILE, encoding="utf-8")
    (folder / "document").write_bytes(source.data)
    command = [
        program, f"-env:UserInstallation={(folder / 'profile').as_uri()}", "--headless", "--norestore", "--nologo",
        "--convert-to", to, "--outdir", str(folder / "out"), str(folder / "document"),
    ]  # fmt: skip
    environment = {"HOME": str(folder), "TMPDIR": str(folder), "PATH": os.defpath, "LANG": "C.UTF-8"}
    environment |= dict.fromkeys(("http_proxy", "https_proxy", "ftp_proxy"), _NOWHERE)
    try:
        with programs_allowed():
            subprocess.run(  # noqa: S603 - a fixed command, with paths of our own making
                command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, timeout=seconds, check=True,
            )  # fmt: skip
        return (folder / "out" / f"document.{to}").read_bytes()
    except subprocess.TimeoutExpired as exc:
        raise DamagedDocument(f"{source.name}: LibreOffice did not convert it within {seconds:g} s.") from exc
    except (subprocess.CalledProcessError, OSError) as exc:
        raise DamagedDocument(
            f"{source.name}: LibreOffice could not convert it ({exc}). Open it and save it anew."
        ) from exc
