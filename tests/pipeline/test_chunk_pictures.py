"""Pictures of chunks: stored ones, and parts of pages."""

from __future__ import annotations

from io import BytesIO

import docx
import pytest

from gristmill.base.errors import BlobMissing, Conflict, NotFound
from gristmill.cli.picture import picture_of
from gristmill.pipeline.doctor import examine
from gristmill.pipeline.settings import IngestSettings
from pipeline.home import TENANT, Home, paragraphs, pdf
from pipeline.test_flow import png

pytestmark = pytest.mark.anyio
PICTURES = IngestSettings(method="picture", embedder="lexical")


def illustrated() -> bytes:
    made, out = docx.Document(), BytesIO()
    made.add_paragraph("A picture of one dot follows.")
    made.add_picture(BytesIO(png()))
    made.save(out)
    return out.getvalue()


async def test_the_picture_of_a_chunk_is_the_one_that_is_stored(home: Home) -> None:
    document = await home.ingest(home.write("a.docx", illustrated()), PICTURES)
    [chunk] = [one for one in home.chunks(document) if one.asset]
    for name in (chunk.chunk_id, chunk.chunk_id[:8]):
        found = picture_of(home.ports, TENANT, name)
        assert (found.data, found.source, found.record.chunk_id) == (png(), "stored", chunk.chunk_id)
    [other] = [one for one in home.chunks(document) if not one.asset]
    with pytest.raises(NotFound, match=r"no picture of chunk .* of a\.docx"):
        picture_of(home.ports, TENANT, other.chunk_id)
    with pytest.raises(NotFound, match="no chunk is called"):
        picture_of(home.ports, "nobody", chunk.chunk_id)
    for short in ("", chunk.chunk_id[:3], "zzzzzzzz"):
        with pytest.raises(NotFound, match="no chunk is called"):
            picture_of(home.ports, TENANT, short)


async def test_the_picture_of_a_chunk_of_a_pdf_is_the_part_of_the_page_where_it_stands(home: Home) -> None:
    path = pdf(home.files / "a.pdf", 2)
    document = await home.ingest(path)
    first = home.chunks(document)[0]
    found = picture_of(home.ports, TENANT, first.chunk_id)
    assert found.source == "drawn"
    width, height = (int.from_bytes(found.data[at : at + 4], "big") for at in (16, 20))
    assert width > 3 * height > 0, "a line of text"
    home.ports.storage.delete(f"blobs/{TENANT}/{document.digest[:2]}/{document.digest}")
    with pytest.raises(BlobMissing):
        picture_of(home.ports, TENANT, first.chunk_id)
    pdf(path, 1, lambda n: f"Another text {n}")
    await home.submit(path)
    with pytest.raises(Conflict, match=r"a\.pdf is being ingested anew"):
        picture_of(home.ports, TENANT, first.chunk_id)


async def test_a_stored_picture_that_is_gone_is_damage_which_a_retry_mends(home: Home) -> None:
    document = await home.ingest(home.write("a.docx", illustrated()), PICTURES)
    await home.ingest(home.write("b.txt", paragraphs(2)))
    assert examine(home.ports) == []
    [key] = home.objects("assets/")
    home.ports.storage.delete(key)
    [chunk] = [one for one in home.chunks(document) if one.asset]
    with pytest.raises(BlobMissing, match=f"documents retry {document.id}"):
        picture_of(home.ports, TENANT, chunk.chunk_id)
    [damage] = examine(home.ports)
    assert (damage.kind, damage.where) == ("asset", document.id)
    assert damage.message == "a.docx: 1 picture of its chunks is gone"
    assert damage.remedy == f"gristmill documents retry {document.id}"
    await home.service.retry(TENANT, document.id, PICTURES)
    await home.work()
    assert examine(home.ports) == []
    assert picture_of(home.ports, TENANT, chunk.chunk_id).data == png()


async def test_a_picture_of_no_document_is_named_and_swept(home: Home) -> None:
    stray = f"assets/{TENANT}/{'0' * 64}/x"
    home.ports.storage.put(stray, b"x")
    [damage] = examine(home.ports)
    assert (damage.kind, damage.where) == ("orphan", stray)
    assert "the next sweep removes it" in damage.remedy
    home.sweep()
    assert examine(home.ports) == []
