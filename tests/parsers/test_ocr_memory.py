"""OCR within the memory that a task of the pipeline may use, in a process of its own, as in a runner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gristmill.base.settings.model import Worker
from samples import scans

MIB = 1024 * 1024
READ = """
import sys
from pathlib import Path
from gristmill.engine.memory import bound
from gristmill.parsers.image import ImageParser
from gristmill.ports.parser import ParseLimits, Source
data = Path(sys.argv[1]).read_bytes()
bound(int(sys.argv[2]))
try:
    document = ImageParser().parse(Source("page.png", data), ParseLimits())
except MemoryError:
    print("MemoryError")
else:
    print(sum(len(block.text.split()) for block in document.blocks))
"""


def dense_page() -> bytes:
    """As large as it is ever looked at, full of words."""
    line = "The mill grinds slowly but surely and nobody waits for it, 石磨磨粮食 "
    page = scans.page([line + line for _ in range(60)], size=21)
    return scans.encoded(page.resize((1_414, 2_000)))


def read(page: Path, limit: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", READ, page, str(limit)], capture_output=True, text=True, check=True, timeout=600
    )
    return done.stdout.strip()


@pytest.mark.fault
@pytest.mark.timeout(700)
def test_the_largest_page_fits_into_a_task_of_the_pipeline(tmp_path: Path) -> None:
    page = tmp_path / "page.png"
    page.write_bytes(dense_page())
    limit = Worker().memory_limit
    assert limit is not None
    assert int(read(page, limit)) > 1_000


def test_where_there_is_too_little_memory_it_is_memory_that_is_missing(tmp_path: Path) -> None:
    """Native code would end the process, and nobody would know of what."""
    page = tmp_path / "page.png"
    page.write_bytes(scans.encoded(scans.page(scans.ENGLISH)))
    assert read(page, 300 * MIB) == "MemoryError"
