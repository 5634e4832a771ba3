"""What the stages work with: the ports, and what a part of a run is about."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from gristmill.base.clock import Clock
from gristmill.pipeline.enrich import Models
from gristmill.pipeline.settings import IngestSettings, ModelIds, load_settings
from gristmill.ports.cache import StageCache
from gristmill.ports.catalog import Catalog, Document, Part, Run
from gristmill.ports.chunker import Chunker, TokenCount
from gristmill.ports.docstore import DocStore, Space
from gristmill.ports.model import Embedder
from gristmill.ports.parser import ParseLimits, Parser
from gristmill.ports.storage import ObjectStore

Report = Callable[[float, str], None]
StageName = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Ports:
    """All that the stages need of the world."""

    catalog: Catalog
    storage: ObjectStore
    docstore: DocStore
    cache: StageCache
    parser: Callable[[str], Parser]
    chunker: Callable[[str], Chunker]
    embedder: Callable[[str], Embedder]
    models: Callable[[ModelIds], Models]
    count: TokenCount
    limits: ParseLimits
    clock: Clock


@dataclass(frozen=True)
class Piece:
    """What a part is about."""

    run: Run
    document: Document
    part: Part
    settings: IngestSettings
    space: Space


def blob_key(tenant: str, content: str) -> str:
    """Where a document's bytes are; tenants never share a key (P12)."""
    return f"blobs/{tenant}/{content[:2]}/{content}"


def asset_key(tenant: str, content: str, asset: str) -> str:
    """Where a picture of a document is: with the document's bytes, for those who share them share the parse."""
    return f"assets/{tenant}/{content}/{asset}"


def piece(ports: Ports, run: Run, part: Part) -> Piece:
    """Look up what belongs to a part. Raises NotFound when the document is gone."""
    document = ports.catalog.document(run.tenant, run.document_id)
    space = ports.catalog.space(run.tenant, run.dataset_id)
    return Piece(run, document, part, load_settings(run.settings), space)
