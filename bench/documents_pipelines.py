"""One pipeline over PDFs, alone in its process: bytes to chunks of 512 tokens without overlap.

    python bench/documents_pipelines.py NAME SECONDS FILE...

Imports are not counted, and the first file is warmed. Whole passes over the files until so many CPU seconds have gone.
``ours`` runs where Gristmill is installed, every other one where the packages of documents_peers.txt are.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

TOKENS = 512
CHARACTERS = 2_000  # where a pipeline counts no tokens: about as many
Found = tuple[int, int]  # chunks, or what comes nearest to them, and how many of them know their page
Pipeline = Callable[[str, bytes], Found]


def ours(*, all_of_it: bool = True) -> Pipeline:
    """With a page and box for every chunk. Pages that are pictures are left alone, as every other pipeline does."""
    sys.modules["rapidocr"] = None  # type: ignore[assignment]  # as where the extra is not installed

    from gristmill.base.tokens import count_tokens
    from gristmill.chunkers.naive import NaiveChunker
    from gristmill.parsers.pdf import PdfParser, pages
    from gristmill.ports.chunker import ChunkSettings
    from gristmill.ports.parser import ParseLimits, ReadSettings, Source

    wanted = ReadSettings(tables="fast" if all_of_it else "off")
    if not all_of_it:
        pages.pictures = lambda *_: iter(())

    def run(name: str, data: bytes) -> Found:
        parsed = PdfParser().parse(Source(name, data, wanted), ParseLimits())
        chunks = NaiveChunker().chunk(parsed, ChunkSettings(chunk_token_num=TOKENS), count_tokens)
        return len(chunks), sum(1 for chunk in chunks if chunk.pages and chunk.boxes)

    return run


def ours_text() -> Pipeline:
    """The same without tables and pictures, which none of the others looks for."""
    return ours(all_of_it=False)


def tokens() -> Callable[[str], int]:
    """The count that every pipeline with a counter of one's choice is given."""
    import bpe_openai

    encode = bpe_openai.get_encoding("cl100k_base").encode_ordinary
    return lambda text: len(encode(text))


def pdfium_text(data: bytes) -> Iterable[str]:
    import pypdfium2

    document = pypdfium2.PdfDocument(data)
    for page in document:
        text = page.get_textpage()
        yield text.get_text_bounded()
        text.close()
        page.close()
    document.close()


def pdfium() -> Pipeline:
    """The floor: text, neither chunks nor places."""
    import pypdfium2  # noqa: F401  imports are not counted

    return lambda name, data: (sum(1 for _ in pdfium_text(data)), 0)


def chonkie() -> Pipeline:
    import chonkie
    import pypdfium2  # noqa: F401

    cut = chonkie.RecursiveChunker(tokenizer=tokens(), chunk_size=TOKENS)
    return lambda name, data: (len(cut("\n".join(pdfium_text(data)))), 0)


def semchunk() -> Pipeline:
    import pypdfium2  # noqa: F401
    import semchunk

    cut = semchunk.chunkerify(tokens(), TOKENS)
    return lambda name, data: (len(cut("\n".join(pdfium_text(data)))), 0)


def text_splitter() -> Pipeline:
    import pypdfium2  # noqa: F401
    import semantic_text_splitter

    cut = semantic_text_splitter.TextSplitter.from_tiktoken_model("gpt-4", TOKENS)
    return lambda name, data: (len(cut.chunks("\n".join(pdfium_text(data)))), 0)


def kreuzberg() -> Pipeline:
    import kreuzberg

    config = kreuzberg.ExtractionConfig(
        use_cache=False,
        chunking=kreuzberg.ChunkingConfig(max_chars=CHARACTERS, max_overlap=0),
        pages=kreuzberg.PageConfig(extract_pages=True),
    )

    def run(name: str, data: bytes) -> Found:
        chunks = kreuzberg.extract_bytes_sync(data, "application/pdf", config=config).chunks or []
        return len(chunks), sum(1 for chunk in chunks if chunk.metadata.get("first_page"))

    return run


def langchain() -> Pipeline:
    from langchain_community.document_loaders import PyPDFLoader
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    cut = RecursiveCharacterTextSplitter(chunk_size=TOKENS, chunk_overlap=0, length_function=tokens())

    def run(name: str, data: bytes) -> Found:
        with tempfile.NamedTemporaryFile(suffix=".pdf") as file:
            file.write(data)
            file.flush()
            chunks = cut.split_documents(PyPDFLoader(file.name).load())
        return len(chunks), sum(1 for chunk in chunks if "page" in chunk.metadata)

    return run


def llamaindex() -> Pipeline:
    import bpe_openai
    from llama_index.core.node_parser import SentenceSplitter
    from llama_index.readers.file import PDFReader

    encode = bpe_openai.get_encoding("cl100k_base").encode_ordinary
    reader, cut = PDFReader(), SentenceSplitter(chunk_size=TOKENS, chunk_overlap=0, tokenizer=encode)

    def run(name: str, data: bytes) -> Found:
        with tempfile.NamedTemporaryFile(suffix=".pdf") as file:
            file.write(data)
            file.flush()
            nodes = cut.get_nodes_from_documents(reader.load_data(Path(file.name)))
        return len(nodes), sum(1 for node in nodes if "page_label" in node.metadata)

    return run


def pdfplumber() -> Pipeline:
    """Words with their boxes, no chunks."""
    import pdfplumber as plumber

    def run(name: str, data: bytes) -> Found:
        with plumber.open(io.BytesIO(data)) as document:
            words = sum(len(page.extract_words()) for page in document.pages)
        return words, words

    return run


def docling_parse() -> Pipeline:
    """Lines with their boxes, no chunks."""
    from docling_parse.pdf_parser import DoclingPdfParser

    def run(name: str, data: bytes) -> Found:
        document = DoclingPdfParser(loglevel="fatal").load(io.BytesIO(data))
        lines = sum(len(page.textline_cells) for _, page in document.iterate_pages())
        document.unload()
        return lines, lines

    return run


PIPELINES = {
    one.__name__: one
    for one in (
        ours, ours_text, pdfium, chonkie, semchunk, text_splitter, kreuzberg, langchain, llamaindex, pdfplumber,
        docling_parse,
    )
}  # fmt: skip


def burned() -> float:
    """Processor seconds of this process and of those it had, so far."""
    both = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def main() -> None:
    name, seconds, files = sys.argv[1], float(sys.argv[2]), [Path(one) for one in sys.argv[3:]]
    began = time.perf_counter()
    run = PIPELINES[name]()
    imported = time.perf_counter() - began
    loaded = [(path.name, path.read_bytes()) for path in files]
    run(*loaded[0])
    passes, before, began = 0, burned(), time.perf_counter()
    while burned() - before < seconds:
        found = [run(*one) for one in loaded]
        passes += 1
    result = {
        "cpu_s": (burned() - before) / passes,
        "wall_s": (time.perf_counter() - began) / passes,
        "passes": passes,
        "import_s": imported,
        "chunks": sum(one[0] for one in found),
        "placed": sum(one[1] for one in found),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    os.write(sys.stdout.fileno(), (json.dumps(result) + "\n").encode())


if __name__ == "__main__":
    main()
