"""What models read in a document: speech, pictures, the fields of a resume. Each answer is asked for once in its life (P13).

Between parsing and chunking: parsers and chunkers know no model. Sound has to be heard to be read at all; where a picture or
a resume finds no model, what was read by rules is what there is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from gristmill.base.errors import EmptyDocument, InputRefused, UnsupportedDocument
from gristmill.base.ids import digest
from gristmill.pipeline.resume import read_fields
from gristmill.ports.cache import StageCache
from gristmill.ports.document import Asset, Block, ParsedDocument
from gristmill.ports.model import Chat, Described, Describer, Sound, Spoken, Transcriber

KIND = "enriched"
VERSION = "1"
MOST_PICTURES = 1000  # of one document
MOST_DESCRIPTION = 8_000  # characters
MOST_WORDS = 32  # a picture with more of them is text, and was read
PICTURE, RESUME = "picture", "resume"  # methods

Load = Callable[[str], bytes]  # the bytes of a picture or recording by its asset id
Pace = Callable[[str], None]  # waits until one more request may be made for this use: transcription, vision, chat
Report = Callable[[float, str], None]

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\d_]{2,}")
_NO_TRANSCRIBER = (
    "{name} is sound, and no model is set that hears it: set models.transcription to an endpoint, or install the extra speech"
    " (pip install 'gristmill[speech]') and set models.transcription.provider to pocketsphinx, or submit a transcript"
)


@dataclass(frozen=True)
class Models:
    """The models that are set."""

    transcriber: Transcriber | None = None
    describer: Describer | None = None
    chat: Chat | None = None


@dataclass(frozen=True)
class Desk:
    """What the work is done with."""

    models: Models
    cache: StageCache
    load: Load
    pace: Pace
    report: Report


def at_once(use: str) -> None:
    """No rate to keep."""


def quietly(share: float, message: str) -> None:
    """Nobody wants to know."""


def enrich(
    document: ParsedDocument,
    models: Models,
    cache: StageCache,
    load: Load,
    *,
    method: str = "",
    pace: Pace = at_once,
    report: Report = quietly,
) -> ParsedDocument:
    """The document with what models read in it; the given one stays as it is.

    Speech takes the place of its recording. A description stands below the first figure of its picture, as a caption of
    source ``meta``. The fields of a resume (``method`` resume) are in ``meta`` as ``resume:LABEL``. What a model refuses leaves
    a warning; a recording that is the whole document raises. Raises UnsupportedDocument for sound where no model hears it,
    EmptyDocument where nothing is said, and where there is no word and something that was not read; and what models raise.
    """
    desk = Desk(models, cache, load, pace, report)
    heard = _heard(document, desk, whole=True)
    seen = _seen(heard, desk)
    _require_words(seen, method)
    if method == RESUME and models.chat is not None:
        return read_fields(seen, models.chat, cache, KIND, lambda: pace("chat"))
    return seen


def concerns(document: ParsedDocument, models: Models) -> bool:
    """Whether ``enrich`` may do anything but give the document back."""
    read = document.format == "image" or any(map(is_recording, document.blocks))
    return read or bool(document.children) or models != Models()


def is_recording(block: Block) -> bool:
    """Whether speech is still to be heard."""
    return block.kind == "speech" and bool(block.asset) and not block.text.strip()


def is_picture(block: Block, document: ParsedDocument) -> bool:
    """Whether this is a figure with a picture to look at."""
    asset = document.assets.get(block.asset)
    return block.kind == "figure" and asset is not None and asset.mime.startswith("image/")


def _heard(document: ParsedDocument, desk: Desk, *, whole: bool = False) -> ParsedDocument:
    """With speech in place of recordings, also in the documents inside."""
    blocks: list[Block] = []
    warnings = list(document.warnings)
    for block in document.blocks:
        if not is_recording(block):
            blocks.append(block)
            continue
        try:
            blocks += _speech(block, document, desk)
        except (UnsupportedDocument, InputRefused, EmptyDocument) as exc:
            if whole:
                raise
            warnings.append(str(exc))
    children = [_heard(child, desk) for child in document.children]
    return msgspec.structs.replace(document, blocks=blocks, warnings=warnings, children=children)


def _speech(block: Block, document: ParsedDocument, desk: Desk) -> Iterator[Block]:
    model, name = desk.models.transcriber, document.name
    if model is None:
        raise UnsupportedDocument(_NO_TRANSCRIBER.format(name=name))
    key = digest("speech", VERSION, model.id, block.asset)
    kept = desk.cache.get_many(KIND, [key]).get(key)
    if kept is None:
        asset = document.assets.get(block.asset) or Asset(block.asset, "", b"")
        desk.report(0.0, f"hears {name}")
        desk.pace("transcription")
        try:
            spoken = model.transcribe(Sound(name, asset.mime, asset.data or desk.load(block.asset)))
        except InputRefused as exc:
            raise InputRefused(f"{name} cannot be heard: {exc}") from exc
        kept = msgspec.msgpack.encode(spoken)
        desk.cache.put_many(KIND, {key: kept})
    said = [one for one in msgspec.msgpack.decode(kept, type=list[Spoken]) if one.text.strip()]
    if not said:
        raise EmptyDocument(f"{name} holds no speech that {model.id} hears")
    for one in said:
        time = (one.start, one.end) if one.end else block.time
        yield Block("speech", one.text.strip(), source="asr", time=time, page=block.page)


def _seen(document: ParsedDocument, desk: Desk) -> ParsedDocument:
    """With descriptions below figures, also in the documents inside."""
    children = [_seen(child, desk) for child in document.children]
    if desk.models.describer is None:
        return msgspec.structs.replace(document, children=children)
    wanted = _wanted(document)
    found = _described(document, wanted[:MOST_PICTURES], desk.models.describer, desk)
    warnings = list(document.warnings)
    warnings += [
        f"a picture of {document.name} was not described: {one.refused}" for one in found.values() if one.refused
    ]
    if len(wanted) > MOST_PICTURES:
        warnings.append(f"{document.name} has {len(wanted)} pictures; the first {MOST_PICTURES} were described")
    blocks: list[Block] = []
    for block in document.blocks:
        blocks.append(block)
        if block.kind == "figure" and (one := found.pop(block.asset, None)) is not None and one.text.strip():
            blocks.append(Block("caption", one.text.strip()[:MOST_DESCRIPTION], source="meta", page=block.page))
    return msgspec.structs.replace(document, blocks=blocks, warnings=warnings, children=children)


def _wanted(document: ParsedDocument) -> list[str]:
    """The pictures to be described, each once. A document that is a picture full of words is text."""
    if document.format == "image":
        words = " ".join(block.text for block in document.blocks)
        if len(_WORD.findall(words)) > MOST_WORDS:
            return []
    return list(dict.fromkeys(block.asset for block in document.blocks if is_picture(block, document)))


def _described(document: ParsedDocument, assets: Sequence[str], model: Describer, desk: Desk) -> dict[str, Described]:
    """Descriptions by picture. Each batch is kept as soon as it is there; what was refused is asked again another time."""
    keys = {asset: digest("picture", VERSION, model.id, asset) for asset in assets}
    kept = desk.cache.get_many(KIND, list(keys.values()))
    found = {asset: Described(kept[key].decode()) for asset, key in keys.items() if key in kept}
    missing = [asset for asset in assets if asset not in found]
    for at in range(0, len(missing), model.batch):
        batch = missing[at : at + model.batch]
        for _ in batch:
            desk.pace("vision")
        fresh = model.describe([document.assets[asset].data or desk.load(asset) for asset in batch])
        answers = dict(zip(batch, fresh, strict=True))
        desk.cache.put_many(KIND, {keys[asset]: one.text.encode() for asset, one in answers.items() if not one.refused})
        found.update(answers)
        desk.report((at + len(batch)) / len(missing), f"described {at + len(batch)} of {len(missing)} pictures")
    return found


def _require_words(document: ParsedDocument, method: str) -> None:
    """A picture without words that nobody described is for the method ``picture`` only, which says what can be said of it."""
    if method == PICTURE or _has_words(document):
        return
    if document.format == "image":
        raise EmptyDocument(
            f"{document.name} holds no text that OCR finds, and no model described it: set models.vision, or choose the method"
            " picture"
        )
    reasons = list(_warnings(document))
    if reasons:
        raise EmptyDocument(
            f"{document.name} holds nothing that can be read; the first of {len(reasons)} reasons: {reasons[0]}"
        )


def _has_words(document: ParsedDocument) -> bool:
    words = any(block.table is not None or block.text.strip() for block in document.blocks)
    return words or any(map(_has_words, document.children))


def _warnings(document: ParsedDocument) -> Iterator[str]:
    yield from document.warnings
    for child in document.children:
        yield from _warnings(child)
