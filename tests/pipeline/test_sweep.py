"""What nothing owns goes, what is needed stays, whoever does what meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gristmill.base.ids import content_digest
from gristmill.pipeline.service import FileSubmit
from gristmill.pipeline.sweep import ASIDE, Swept
from gristmill.pipeline.work import blob_key
from gristmill.ports.catalog import NewDocument, Part, RunState
from gristmill.ports.docstore import Space
from gristmill.testing.docstores import records_of
from pipeline.home import SMALL, TENANT, CrashError, Home, paragraphs

pytestmark = pytest.mark.anyio

NOTHING = Swept(0, 0, 0, 0)
WORDS = b"words that a document has"


async def test_a_home_in_order_loses_nothing(home: Home) -> None:
    documents = [await home.ingest(home.write(f"{n}.md", paragraphs(5, f"w{n}"))) for n in range(3)]
    await home.submit(home.write("waiting.md", paragraphs(5)))
    before = home.objects(), home.stored()
    assert home.sweep() == NOTHING
    assert (home.objects(), home.stored()) == before
    assert [len(home.chunks(document)) for document in documents] == [document.chunks for document in documents]
    await home.work()
    assert home.ports.catalog.unfinished() == []


async def test_replaced_chunks_stay_for_readers_that_hold_an_older_view(home: Home) -> None:
    path = home.write("a.md", paragraphs(5))
    first = await home.ingest(path)
    view = home.ports.catalog.view(home.dataset.id)
    home.write("a.md", paragraphs(7, "storm"))
    second = await home.ingest(path)
    assert home.sweep(grace=60) == Swept(0, 0, 1, 0)  # the bytes of the old content
    assert len(home.ports.docstore.chunks(home.space, view, first.id)) == first.chunks
    home.clock.move(60)
    assert home.sweep(grace=60) == Swept(first.chunks, 1, 0, 0)
    assert home.stored() == {second.live: second.chunks}
    assert home.sweep(grace=60) == NOTHING


async def test_what_a_zombie_appends_to_a_dead_generation_is_never_seen_and_goes_too(home: Home) -> None:
    submission = await home.submit(home.write("a.md", paragraphs(5)))
    await home.service.cancel(TENANT, submission.document.id)
    home.sweep(keep_dead=3600)
    late = records_of(3, gen=submission.run.gen, vector=b"\0" * 384 * 4, document_id=submission.document.id)
    home.ports.docstore.write(home.space, late)
    assert home.chunks(submission.document) == []
    assert home.sweep(keep_dead=3600).records == 3
    home.clock.move(3601)
    home.sweep(keep_dead=3600)
    assert home.ports.catalog.generations(home.dataset.id) == {}
    home.ports.docstore.write(home.space, late)  # a day late
    assert home.sweep(keep_dead=3600).records == 3


async def test_strangers_in_any_store_go(home: Home) -> None:
    document = await home.ingest(home.write("a.md", paragraphs(5)))
    home.ports.docstore.write(home.space, records_of(4, gen=999, vector=b"\0" * 384 * 4))
    home.ports.docstore.write(Space(TENANT, "gone", 4), records_of(4))
    home.ports.docstore.write(Space("nobody", home.dataset.id, 4), records_of(4))
    for key in (
        blob_key(TENANT, "0" * 64),
        blob_key("nobody", document.digest),
        "blobs/stray",
        f"assets/{TENANT}/{'0' * 64}/x",
        "assets/stray",
        f"assets/nobody/{document.digest}/x",
    ):
        home.ports.storage.put(key, b"x")
    assert home.sweep() == Swept(4 + 4, 0, 6, 0, rooms=2)  # rooms are emptied before they go
    assert home.stored() == {document.live: document.chunks}
    assert home.objects() == {blob_key(TENANT, document.digest)}
    assert home.ports.docstore.spaces() == [(TENANT, home.dataset.id)]
    assert home.sweep() == NOTHING


async def test_the_cache_is_cut_to_its_size_and_nothing_is_lost_by_it(home: Home) -> None:
    path = home.write("a.md", paragraphs(20))
    document = await home.ingest(path)
    assert home.sweep(cache_bytes=0).cached > 20
    again = await home.ingest(path, again=True)
    assert [one.chunk_id for one in home.chunks(again)] == [one.chunk_id for one in home.chunks(document)]
    assert len(home.parsed) == 2


async def test_an_object_is_looked_up_a_few_times_and_not_once_for_each(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        home.ports.storage.put(blob_key(TENANT, f"{number:064}"), b"x")
    calls = 0
    blobs = home.ports.catalog.blobs

    def counted() -> set[tuple[str, str]]:
        nonlocal calls
        calls += 1
        return blobs()

    monkeypatch.setattr(home.ports.catalog, "blobs", counted)
    assert home.sweep().blobs == 20
    assert calls <= 2


# -- between sweep and submit

# The steps of removing one object: look, move it aside, delete it, look again, forget what is aside.
STEPS = (("needs_blob", 1), ("put", 1), ("delete", 1), ("needs_blob", 2), ("delete", 2))


def interrupted(home: Home, monkeypatch: pytest.MonkeyPatch, step: str, call: int, act: Callable[[], None]) -> None:
    """Something happens right before the sweep's n-th call of this step."""
    target = home.ports.catalog if step == "needs_blob" else home.ports.storage
    real, calls = getattr(target, step), 0

    def hooked(*args: object) -> object:
        nonlocal calls
        calls += 1
        if calls == call:
            monkeypatch.setattr(target, step, real)
            act()
        return real(*args)

    monkeypatch.setattr(target, step, hooked)


def orphaned(home: Home) -> str:
    key = blob_key(TENANT, content_digest(WORDS))
    home.ports.storage.put(key, WORDS)
    return key


@pytest.mark.parametrize(("step", "call"), STEPS)
async def test_a_submit_in_the_middle_of_a_sweep_finds_its_bytes(
    home: Home, monkeypatch: pytest.MonkeyPatch, step: str, call: int
) -> None:
    """The submit sees the bytes there, and writes the catalog while the sweep removes them."""
    key = orphaned(home)
    path = home.write("a.md", WORDS)
    made = []

    def submit() -> None:
        made.append(home.service._store(home.dataset, FileSubmit(path, path.name), SMALL, again=False))

    interrupted(home, monkeypatch, step, call, submit)
    home.sweep()
    assert len(made) == 1
    assert home.ports.storage.get(key) == WORDS
    assert home.objects(ASIDE) == set()
    await home.service.reconcile()
    await home.work()
    assert home.document(made[0].document.id).state is RunState.DONE


@pytest.mark.parametrize("needed", [True, False], ids=["needed again", "not needed"])
@pytest.mark.parametrize(("step", "call"), STEPS)
async def test_a_sweep_that_dies_in_the_middle_loses_nothing_and_leaves_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch, step: str, call: int, needed: bool
) -> None:
    key = orphaned(home)
    path = home.write("a.md", WORDS)

    def die() -> None:
        if needed:
            home.ports.catalog.submit(  # by a process that had found the bytes there, and died as well
                home.dataset,
                NewDocument(str(path), path.name, content_digest(WORDS), len(WORDS), "text"),
                settings=SMALL.dump(),
                settings_digest=SMALL.digest(),
                parts=[Part("", 0)],
            )
        raise CrashError

    interrupted(home, monkeypatch, step, call, die)
    with pytest.raises(CrashError):
        home.sweep()
    home.sweep()
    assert home.objects() == ({key} if needed else set())
