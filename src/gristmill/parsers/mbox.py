"""Mailboxes: one message after the other, each a document of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from gristmill.base.errors import DamagedDocument, EmptyDocument
from gristmill.parsers.bounds import check_size
from gristmill.parsers.children import Budget
from gristmill.ports.document import ParsedDocument
from gristmill.ports.parser import ParseLimits, Parser, Source

_BEGIN = re.compile(rb"(?:\A|\n\r?\n)From [^\r\n]*\r?\n(?=[\w-]+:|>?From )")
_QUOTED = re.compile(rb"^>(?=>*From )", re.M)


class MboxParser(Parser):
    """Each message with its attachments. One that cannot be read leaves a warning; the limits hold for all together."""

    name: ClassVar[str] = "mbox"
    version: ClassVar[int] = 1

    def parse(self, source: Source, limits: ParseLimits) -> ParsedDocument:
        check_size(source, limits)
        document = ParsedDocument("mbox", [], parser=f"mbox/{self.version}", name=source.name)
        budget = Budget(document, limits)
        found = 0
        for found, message in enumerate(_messages(source.data), 1):
            budget.add(f"message {found}", message, "email")
        if not found:
            raise DamagedDocument(f"{source.name} is no mailbox: it does not begin with a line 'From '.")
        if not document.children:
            raise EmptyDocument(f"{source.name} holds no message that can be read ({document.warnings[0]})")
        return document


def _messages(data: bytes) -> Iterator[bytes]:
    ends = [(match.start(), match.end()) for match in _BEGIN.finditer(data)]
    if not ends or ends[0][0]:
        return
    for (_, begin), (end, _) in zip(ends, [*ends[1:], (len(data), 0)], strict=True):
        yield _QUOTED.sub(b"", data[begin:end])
