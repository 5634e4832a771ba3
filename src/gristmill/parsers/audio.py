"""Sound: a recording to be heard by a model. What is said in it is not the parser's business."""

from __future__ import annotations

from typing import ClassVar

from gristmill.base.errors import DamagedDocument, EmptyDocument, UnsupportedDocument
from gristmill.base.ids import content_digest
from gristmill.parsers.bounds import Blocks, check_size
from gristmill.parsers.sound import seconds_of, sound_kind
from gristmill.ports.document import Asset, Block, ParsedDocument
from gristmill.ports.parser import ParseLimits, Parser, Source


class AudioParser(Parser):
    """One block of kind ``speech`` without text: its asset is the recording, its time how long it plays, where that is known.

    The pipeline has a model write down what is said before anything is cut; a recording that nobody hears is refused there.
    """

    name: ClassVar[str] = "audio"
    version: ClassVar[int] = 1

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        check_size(source, limits)
        kind = sound_kind(source.data[: 1 << 16])
        if not kind:
            raise UnsupportedDocument(f"{source.name} is no sound that is known here")
        seconds = seconds_of(kind, source.data)
        if seconds is None:
            raise DamagedDocument(f"{source.name} is damaged sound ({kind}). Save or download it again.")
        if kind == "audio/wav" and not seconds:
            raise EmptyDocument(f"{source.name} is a recording of no length")
        key = content_digest(source.data)
        blocks = Blocks(source.name, limits)
        blocks.add(Block("speech", "", asset=key, time=(0.0, seconds) if seconds else None))
        return ParsedDocument(
            "audio",
            blocks,
            assets={key: Asset(key, kind, source.data, name=source.name)},
            meta={"seconds": f"{seconds:.2f}"} if seconds else {},
            parser=f"audio/{self.version}",
            name=source.name,
        )
