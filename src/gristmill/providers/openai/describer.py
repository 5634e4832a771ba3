"""Pictures to text through an OpenAI-compatible endpoint."""

from __future__ import annotations

import base64
import io
import struct
import threading
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from gristmill.base.errors import InputRefused, PluginError
from gristmill.base.ids import digest
from gristmill.base.registry import imported
from gristmill.ports.model import Described, Describer
from gristmill.providers.openai.client import Client, Completions

PROMPT = """\
Describe this picture from a document so that somebody who searches for what it shows finds it.
Say first what kind of picture it is (photograph, drawing, chart, diagram, screenshot, map, table), then what it shows.
Of a chart or diagram: the title, the axes with their units, what each line, bar or box stands for, how they are connected,
the values that can be read, and what follows from them.
Of a photograph or drawing: who and what is seen, where, and what happens.
Copy names, numbers and words that can be read as they are written. Say nothing that the picture does not show.
Write plain text without introduction, in the language of the words in the picture, or in {language} where it has none."""
_FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP")
_ERRORS = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, AttributeError, OverflowError,
           struct.error)  # fmt: skip


_PLAIN = {"P": "RGBA", "PA": "RGBA", "1": "L", "I": "L", "F": "L"}  # modes that cannot be made smaller, and what can


class OpenAIDescriber(Describer):
    """Any endpoint that speaks ``POST {base_url}/chat/completions`` and looks at pictures.

    Pictures go out as JPEG with sides of ``max_side`` pixels at most; those with a side below ``min_side`` (rules, bullets,
    icons) and those over ``max_pixels`` are not sent. Further options are those of ``Client``.
    """

    name: ClassVar[str] = "openai"

    def __init__(
        self,
        *,
        model: str,
        language: str = "English",
        max_side: int = 1568,
        min_side: int = 48,
        max_pixels: int = 64_000_000,
        max_tokens: int = 1000,
        concurrency: int = 4,
        **client: Any,
    ) -> None:
        self._prompt = PROMPT.format(language=language)
        self._sides = (min_side, max_side)
        self._max_pixels = max_pixels
        self._unpacking = threading.Lock()  # one at a time: a large picture takes hundreds of megabytes
        self.batch = concurrency
        self.id = f"openai:{model}/{digest(self._prompt, str(self._sides), str(max_tokens))[:8]}@1"
        self._client = Client("vision", "/chat/completions", model=model, concurrency=concurrency, **client)
        self._completions = Completions(self._client, max_tokens)

    def __repr__(self) -> str:
        return f"OpenAIDescriber({self.id!r}, {self._client.shown!r})"

    def describe(self, pictures: Sequence[bytes]) -> list[Described]:
        """A description for each. Raises ModelUnavailable (with ``retry_after``) or ModelRefused."""
        return self._client.each(pictures, self._described)

    def close(self) -> None:
        """Give up connections; calls that wait for another attempt end with ModelUnavailable."""
        self._client.close()

    def _described(self, picture: bytes, abandoned: threading.Event) -> Described:
        try:
            with self._unpacking:
                small = shrunk(picture, *self._sides, self._max_pixels)
            if not small:
                return Described("")
            url = f"data:image/jpeg;base64,{base64.b64encode(small).decode()}"
            content = [{"type": "text", "text": self._prompt}, {"type": "image_url", "image_url": {"url": url}}]
            return Described(self._completions.ask([{"role": "user", "content": content}], abandoned))
        except InputRefused as exc:
            return Described("", str(exc))


def shrunk(picture: bytes, least: int, most: int, max_pixels: int) -> bytes:
    """The picture as JPEG, its first frame, upright, no side longer than ``most``; nothing where one is shorter than
    ``least``. Raises InputRefused for bytes that are no such picture or have too many pixels."""
    try:
        image, ops = imported("PIL.Image"), imported("PIL.ImageOps")
    except ImportError as exc:
        raise PluginError("pictures are made smaller by Pillow: pip install 'gristmill[ocr]'") from exc
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, on its own doubts; our bound on pixels is below
            with image.open(io.BytesIO(picture), formats=_FORMATS) as opened:
                if min(opened.size) < least:
                    return b""
                if opened.width * opened.height > max_pixels:
                    raise InputRefused(
                        f"it has {opened.width} x {opened.height} pixels, over the limit of {max_pixels}"
                    )
                opened.draft("RGB", (most, most))  # large JPEG files are not unpacked in full
                small = _plain(image, opened)
                small.thumbnail((most, most))
                return _jpeg(image, ops.exif_transpose(small))
    except image.DecompressionBombError as exc:
        raise InputRefused(f"it has too many pixels ({exc})") from exc
    except _ERRORS as exc:
        raise InputRefused(f"it cannot be read as a picture ({type(exc).__name__}: {exc})") from exc


def _plain(image: Any, picture: Any) -> Any:
    """The picture in a mode that can be made smaller."""
    if picture.mode.startswith("I;16"):
        return image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return picture.convert(_PLAIN[picture.mode]) if picture.mode in _PLAIN else picture


def _jpeg(image: Any, picture: Any) -> bytes:
    """On white, where it is transparent."""
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = image.alpha_composite(image.new("RGBA", picture.size, "white"), picture)
    out = io.BytesIO()
    picture.convert("RGB").save(out, "JPEG", quality=85)
    return out.getvalue()
