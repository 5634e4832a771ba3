"""XML of documents that are ZIP archives: no entity is put in, nothing is fetched."""

from __future__ import annotations

import zipfile
from typing import Any

from lxml import etree

# What reading such a document raises where no program wrote it.
ERRORS = (etree.LxmlError, zipfile.BadZipFile, KeyError, ValueError, RecursionError)


def read_xml(archive: zipfile.ZipFile, member: str) -> Any:
    """The root element of a member. Raises one of ERRORS."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_pis=True, remove_comments=True
    )
    return etree.fromstring(archive.read(member), parser)


def local(element: Any) -> str:
    """The name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]
