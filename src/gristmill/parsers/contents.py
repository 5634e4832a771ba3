"""The table of contents of an EPUB book, in the form of either generation of the format."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote

from gristmill.parsers.bounds import clean
from gristmill.parsers.xml import ERRORS, local, read_xml

_MOST = 20_000  # entries
_DEEPEST = 9


class Entry(NamedTuple):
    """A line of the table: the member of the archive that it leads to."""

    title: str
    level: int
    path: str


def read_contents(archive: zipfile.ZipFile, package: Any, path: str) -> Iterator[Entry]:
    """The entries in their order. None where there is no table, or one that cannot be read."""
    items = {item.get("id"): item for item in package.iter("{*}item")}
    newer = [item for item in items.values() if "nav" in (item.get("properties") or "").split()]
    older = [items[spine.get("toc")] for spine in package.iter("{*}spine") if spine.get("toc") in items]
    for item, reader in (*((one, _newer) for one in newer), *((one, _older) for one in older)):
        place = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(item.get("href", ""))))
        try:
            found = list(reader(read_xml(archive, place), posixpath.dirname(place)))
        except ERRORS:
            continue  # the chapters are complete without
        if found:
            yield from found[:_MOST]
            return


def _newer(root: Any, folder: str) -> Iterator[Entry]:
    for nav in root.iter("{*}nav"):
        if nav.get("{http://www.idpf.org/2007/ops}type", "toc") == "toc":
            for link in nav.iter("{*}a"):
                level = sum(local(up) == "ol" for up in link.iterancestors())
                yield _entry("".join(link.itertext()), level, link.get("href", ""), folder)
            return


def _older(root: Any, folder: str) -> Iterator[Entry]:
    for point in root.iter("{*}navPoint"):
        level = 1 + sum(local(up) == "navPoint" for up in point.iterancestors())
        title = next(
            (text.text or "" for label in point.iterchildren("{*}navLabel") for text in label.iter("{*}text")), ""
        )
        target = next((content.get("src", "") for content in point.iterchildren("{*}content")), "")
        yield _entry(title, level, target, folder)


def _entry(title: str, level: int, target: str, folder: str) -> Entry:
    path = posixpath.normpath(posixpath.join(folder, unquote(target.partition("#")[0])))
    return Entry(" ".join(clean(title).split()), max(1, min(level, _DEEPEST)), path)
