"""A word index that an older release has made of other words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gristmill.base.sqlite import connect, writing
from gristmill.docstores.sqlite import SqliteDocStore
from gristmill.docstores.sqlite import words as index
from gristmill.ports.docstore import Record
from gristmill.search import tokens
from gristmill.testing.docstores import SPACE, a_record, contents, found_by_words


def older(root: Path, *records: Record) -> Path:
    """A file as a release wrote it that knew no accents: each text was one word."""
    store = SqliteDocStore(root)
    store.write(SPACE, records)
    store.close()
    path = root / SPACE.tenant / f"{SPACE.dataset_id}.db"
    connection = connect(path)
    with writing(connection):
        connection.execute("DELETE FROM meta WHERE key = 'words'")
        connection.execute("INSERT INTO fts(fts) VALUES ('delete-all')")
        rows = connection.execute("SELECT rid FROM chunk").fetchall()
        connection.executemany("INSERT INTO fts(rowid, toks) VALUES (?, 'oldword')", rows)
    connection.close()
    return root


@pytest.mark.parametrize("count", [1, 5])
def test_words_are_made_anew_from_the_texts_when_a_file_of_other_words_is_opened(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_AT_ONCE", 2)
    texts = [f"Brief {n} aus München" for n in range(count)]
    store = SqliteDocStore(older(tmp_path, *(a_record(text, ord=n) for n, text in enumerate(texts))))
    assert sorted(found_by_words(store, "muenchen")) == texts
    assert found_by_words(store, "oldword") == []
    assert contents(store) == texts
    store.write(SPACE, [a_record("Brief aus Köln", ord=count)])
    assert found_by_words(store, "koeln") == ["Brief aus Köln"]
    store.close()


def test_words_are_made_anew_once_for_each_change_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renewed: list[int] = []
    renew = index.renew

    def noted(connection: Any) -> None:
        renewed.append(tokens.VERSION)
        renew(connection)

    older(tmp_path, a_record("text"))
    monkeypatch.setattr(index, "renew", noted)
    for version in (2, 2, 3, 3):
        monkeypatch.setattr(tokens, "VERSION", version)
        store = SqliteDocStore(tmp_path)
        assert found_by_words(store, "text") == ["text"]
        store.close()
    assert renewed == [2, 3]
