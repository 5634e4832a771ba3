"""Units to chunks: as much as fits, along the document's own structure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gristmill.chunkers.cuts import tail
from gristmill.chunkers.units import Unit
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import Chunk


@dataclass
class Filling:
    """The chunk that is being filled. ``together``: headings and tables do not begin one."""

    settings: ChunkSettings
    count: TokenCount
    above: Sequence[str]
    together: bool = False
    units: list[Unit] = field(default_factory=list)
    size: int = 0
    overlap: str = ""
    headings: list[tuple[int, str]] = field(default_factory=list)  # the chain above what comes next
    path: list[str] = field(default_factory=list)  # the chain above the chunk's first unit

    def add(self, unit: Unit) -> Iterator[Chunk]:
        limit = self.settings.chunk_token_num
        alone = unit.alone and not self.together
        if unit.heading and self.size >= limit // 2 and not self.together:
            yield from self.end()
        if alone and not all(one.leads or one.kind == "caption" for one in self.units):
            yield from self.end(keep_headings=True)
        if self.units and self.size + unit.tokens + 1 > limit:
            yield from self.end(keep_headings=True)
            if self.units and self.size + unit.tokens + 1 > limit:
                yield from self.end()
        self._take(unit)
        if alone:
            yield from self.end(overlap=False)

    def rest(self) -> Iterator[Chunk]:
        """All that is left."""
        while any(unit.text.strip() for unit in self.units):
            yield from self.end()

    def end(self, *, keep_headings: bool = False, overlap: bool = True) -> Iterator[Chunk]:
        """The chunk as it is. With ``keep_headings``, headings and announcing lines at its end go on into the next."""
        kept: list[Unit] = []
        while keep_headings and self.units and self.units[-1].leads:
            kept.insert(0, self.units.pop())
        if any(unit.text.strip() for unit in self.units):
            text, tokens, raw = self._fitting(kept)
            yield _chunk(self.units, text, tokens, self.path)
            self.overlap = self._tail(raw) if overlap and self.units[-1].kind not in ("table", "code") else ""
        elif self.units:
            kept = self.units + kept  # a picture without words goes with what follows
        self.units, self.size = [], self.count(self.overlap) if self.overlap else 0
        for unit in kept:
            self._take(unit)

    def _fitting(self, kept: list[Unit]) -> tuple[str, int, str]:
        """The chunk's text, its tokens, and the same text with the white space around it.

        What does not fit after all goes to ``kept``: the tokens of parts do not always add up to those of the whole.
        """
        while True:
            raw = _text(self.units, self.overlap)
            text = _shown(raw, self.units)
            tokens = self.count(text)
            if tokens <= self.settings.chunk_token_num:
                return text, tokens, raw
            if self.overlap:
                self.overlap = ""
            elif len(self.units) > 1:
                kept.insert(0, self.units.pop())
            else:
                return raw, self.count(raw), raw  # it was cut to fit as it is

    def _take(self, unit: Unit) -> None:
        if unit.heading:
            level = unit.level or 1
            self.headings = [one for one in self.headings if one[0] < level]
            if not self.units:
                self._set_path()
            self.headings.append((level, unit.text))
        elif not self.units:
            self._set_path()
        self.units.append(unit)
        self.size += unit.tokens + 1 if unit.text else 0  # a picture takes no room

    def _set_path(self) -> None:
        self.path = [*self.above, *(text for _, text in self.headings)]

    def _tail(self, text: str) -> str:
        share = self.settings.overlapped_percent * self.settings.chunk_token_num // 100
        return tail(text, share, self.count) if share else ""


def _text(parts: Sequence[Unit], overlap: str) -> str:
    pieces = [overlap] if overlap else []
    for unit in parts:
        if unit.text:
            pieces += [unit.joint if pieces and not pieces[-1].endswith("\n") else "", unit.text]
    return "".join(pieces)


def _shown(raw: str, parts: Sequence[Unit]) -> str:
    """Without the white space around it, but for the indent of code."""
    return raw.strip("\n").rstrip() if parts[0].kind == "code" else raw.strip()


def _chunk(parts: Sequence[Unit], text: str, tokens: int, path: Sequence[str]) -> Chunk:
    main = max(parts, key=lambda unit: unit.tokens)
    return Chunk(
        text,
        tokens,
        kind="text" if main.heading else main.kind,
        pages=sorted({page for unit in parts for page in unit.pages}),
        boxes=list(dict.fromkeys(box for unit in parts for box in unit.boxes)),
        path=list(path),
        asset=next((unit.asset for unit in parts if unit.asset), ""),
    )
