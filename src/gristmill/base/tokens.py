"""How many tokens a text has: cl100k_base, the count that the source documents size chunks by."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from gristmill.base.registry import imported

_NAME = "cl100k_base"
_LONGEST = 100_000  # characters given to the encoder at once: it refuses what makes more than 200,000 tokens
_SEAMS = re.compile(r"\n(?=\S)|(?<=[^\W\d_])(?= [^\W\d_])")  # no token reaches over these
_PACKAGE, _NATIVE = "bpe_openai", "bpe_openai._bindings"


def count_tokens(text: str) -> int:
    """The number of cl100k_base tokens of ``text``: exact, but for a text of more than 100,000 characters that has a
    stretch as long without any blank or line end; then at most a token too many for each such stretch."""
    if len(text) <= _LONGEST:
        return _count(text)
    return sum(map(_count, _pieces(text)))


def _count(text: str) -> int:
    try:
        return _counter()(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        return _counter()(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


@cache
def _counter() -> Callable[[str], int]:
    """The count as the package's native part gives it, or, where a version has another one, its public interface.

    The package itself loads tables for decoding, which nobody needs here: half a second and 70 MB in every process.
    """
    native = _native()
    try:
        count: Callable[[str], int] = native.tokenizer_for_encoding(_NAME).count
    except AttributeError:
        encode = imported(_PACKAGE).get_encoding(_NAME).encode_ordinary
        return lambda text: len(encode(text))
    return count


def _native() -> Any:
    """The native part of the package, loaded without the package around it. None where there is no such file."""
    if _NATIVE in sys.modules:
        return sys.modules[_NATIVE]
    package = find_spec(_PACKAGE)
    folders = package.submodule_search_locations if package is not None else None
    files = [path for folder in folders or () for path in Path(folder).glob("_bindings.*") if path.suffix != ".pyi"]
    spec = spec_from_file_location(_NATIVE, files[0]) if files else None
    if spec is None or spec.loader is None:
        return None
    module = sys.modules[_NATIVE] = module_from_spec(spec)  # it can be loaded once only: the package will find it here
    spec.loader.exec_module(module)
    return module


def _pieces(text: str) -> Iterator[str]:
    first = 0
    while len(text) - first > _LONGEST:
        last = first + _LONGEST
        seams: list[int] = []
        for back in (1_000, _LONGEST - 1):  # near the end as a rule; anywhere if it must be
            seams = seams or [seam.end() for seam in _SEAMS.finditer(text, last - back, last)]
        cut = seams[-1] if seams else last
        yield text[first:cut]
        first = cut
    yield text[first:]
