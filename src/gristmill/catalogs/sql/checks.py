"""Damage inside the catalog."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from gristmill.ports.docstore import Flaw

# Each query names a document ("" where there is none), then what the sentence tells of: ``{0}``, ``{1}``, ...
_CHECKS = (
    (
        "document {0} shows generation {1}, which is not live",
        "SELECT d.id, d.name, d.live FROM document d LEFT JOIN generation g ON g.g = d.live"
        " WHERE d.live IS NOT NULL AND (g.g IS NULL OR g.state <> 'live' OR g.document_id <> d.id)",
    ),
    (
        "document {0} has {1} live generations",
        "SELECT d.id, d.name, count(*) FROM document d JOIN generation g ON g.document_id = d.id AND g.state = 'live'"
        " GROUP BY d.id, d.name HAVING count(*) > 1",
    ),
    (
        "generation {0} is live, but its document {1} is not there",
        "SELECT '', g.g, g.document_id FROM generation g LEFT JOIN document d ON d.id = g.document_id"
        " WHERE g.state = 'live' AND d.id IS NULL",
    ),
    (
        "document {0} has the live generation {1}, but shows none",
        "SELECT d.id, d.name, g.g FROM document d JOIN generation g ON g.document_id = d.id AND g.state = 'live'"
        " WHERE d.live IS NULL",
    ),
    (
        "document {0} counts {1} chunks, its generation {2}",
        "SELECT d.id, d.name, d.chunks, g.chunks FROM document d JOIN generation g ON g.g = d.live"
        " WHERE g.state = 'live' AND g.chunks <> d.chunks",
    ),
    (
        "document {0} points to run {1}, which is not there",
        "SELECT d.id, d.name, d.run_id FROM document d LEFT JOIN run r ON r.id = d.run_id WHERE r.id IS NULL",
    ),
    (
        "run {1} of document {0} has not ended, but its generation {2} is not pending",
        "SELECT r.document_id, r.document_id, r.id, r.gen FROM run r LEFT JOIN generation g ON g.g = r.gen"
        " WHERE r.state IN ('queued', 'running') AND (g.g IS NULL OR g.state <> 'pending')",
    ),
    (
        "run {1} of document {0} has not ended, but is not its latest",
        "SELECT r.document_id, r.document_id, r.id FROM run r LEFT JOIN document d ON d.id = r.document_id"
        " WHERE r.state IN ('queued', 'running') AND (d.id IS NULL OR d.run_id <> r.id)",
    ),
    (
        "document {0} is done, but nothing of run {1} can be seen",
        "SELECT d.id, d.name, r.id FROM document d JOIN run r ON r.id = d.run_id"
        " WHERE r.state = 'done' AND (d.live IS NULL OR d.live <> r.gen OR d.chunks = 0)",
    ),
    (
        "run {1} of document {0} says it has {2} parts, but they are not all there",
        "SELECT r.document_id, r.document_id, r.id, r.parts FROM run r"
        " WHERE r.state IN ('queued', 'running') AND r.planned"
        " AND r.parts <> (SELECT count(*) FROM part p WHERE p.run_id = r.id)",
    ),
    (
        "parts of run {0} are there, but the run is not",
        "SELECT DISTINCT '', p.run_id FROM part p LEFT JOIN run r ON r.id = p.run_id"
        " WHERE r.id IS NULL AND NOT EXISTS (SELECT 1 FROM document d WHERE d.run_id = p.run_id)",
    ),
    (
        "document {0} belongs to dataset {1}, which is not there",
        "SELECT '', d.name, d.dataset_id FROM document d LEFT JOIN dataset s ON s.id = d.dataset_id WHERE s.id IS NULL",
    ),
    (
        "generation {1} is pending, but no unfinished run of document {0} writes it",
        "SELECT g.document_id, g.document_id, g.g FROM generation g"
        " LEFT JOIN run r ON r.gen = g.g AND r.state IN ('queued', 'running')"
        " WHERE g.state = 'pending' AND r.id IS NULL",
    ),
)


def check(connection: sa.Connection) -> Iterator[Flaw]:
    """Every damage that the tables show."""
    for sentence, query in _CHECKS:
        for document_id, *found in connection.exec_driver_sql(query):
            yield Flaw(sentence.format(*found), document_id)
