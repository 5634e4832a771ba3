"""What else mail holds: invitations, contacts, Outlook's packets, signatures, and messages that nobody here can open."""

from __future__ import annotations

import struct
from email.message import EmailMessage

import pytest

from gristmill.base.errors import DamagedDocument, EncryptedDocument, UnsupportedDocument
from gristmill.parsers import PARSERS
from gristmill.parsers.tnef import SIGNATURE, unpacked
from gristmill.ports.document import ParsedDocument
from gristmill.ports.parser import ParseLimits, Source
from samples import plain

INVITATION = """BEGIN:VCALENDAR\r\nPRODID:-//x\r\nMETHOD:REQUEST\r\nBEGIN:VTIMEZONE\r\nTZID:Berlin\r\nBEGIN:STANDARD\r
DTSTART:16010101T030000\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Quarterly re\r\n view\\, part 2\r
DTSTART;TZID=Berlin:20260105T100000\r\nDTEND:20260105T110000Z\r\nORGANIZER;CN="Änne Meyer":mailto:anne@example.org\r
DESCRIPTION:Bring figures.\\nBe on time.\r\nBEGIN:VALARM\r\nTRIGGER:-PT15M\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"""
SAID = ("Summary: Quarterly review, part 2\nDtstart: 2026-01-05 10:00\nDtend: 2026-01-05 11:00 UTC\n"
        "Organizer: Änne Meyer <anne@example.org>\nDescription: Bring figures.\nBe on time.")  # fmt: skip
CONTACT = """BEGIN:VCARD\nVERSION:3.0\nN:Meyer;Änne;;Dr.;\nFN:Änne Meyer\nORG:Mill;Grinding\nitem1.TEL;TYPE=WORK:+49 30 1234
NOTE;ENCODING=QUOTED-PRINTABLE:gr=C3=BC=\n=C3=9Fe\nPHOTO;ENCODING=b:AAAA\n  AAAA\nBDAY:19700102\nEND:VCARD\n"""


def parse(name: str, data: bytes, file: str = "") -> ParsedDocument:
    return PARSERS.load(name)().parse(Source(file or f"file.{name}", data), ParseLimits())


def texts(document: ParsedDocument) -> list[str]:
    return [block.text for block in document.blocks if block.kind != "mail_header"]


def message(kind: str, body: bytes = b"words", **headers: str) -> bytes:
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"From: a@b.c\r\nSubject: S\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\n{head}\r\n".encode() + body


def test_calendars_and_contacts_are_records_of_what_they_say() -> None:
    assert texts(parse("text", INVITATION.encode(), "a.ics")) == [SAID]
    assert texts(parse("text", CONTACT.encode() * 2, "a.vcf")) == [
        "N: Meyer Änne Dr.\nFn: Änne Meyer\nOrg: Mill Grinding\nTel: +49 30 1234\nNote: grüße\nBday: 1970-01-02"
    ] * 2  # fmt: skip


def test_an_invitation_is_read_beside_the_words_of_the_mail() -> None:
    mail = EmailMessage()
    mail.set_content("Please come.")
    mail.add_alternative("<p>Please come.</p>", subtype="html")
    mail.add_alternative(INVITATION.replace("\r\n", "\n"), subtype="calendar")
    assert texts(parse("email", bytes(mail))) == ["Please come.", SAID]


def packet(*attributes: tuple[int, bytes]) -> bytes:
    """What Outlook packs."""
    made = SIGNATURE + b"\1\0"
    return made + b"".join(struct.pack("<BII", 1, kind, len(data)) + data + b"\0\0" for kind, data in attributes)


PGP = b"-----BEGIN PGP MESSAGE-----\r\nAA\r\n-----END PGP MESSAGE-----\r\n"
ORDERS = [(0x69002, bytes(14)), (0x18010, b"orders.csv\0"), (0x6800F, plain.orders_csv())]


def test_what_outlook_packs_is_read_as_if_it_were_attached() -> None:
    data = packet((0x2800C, b"The body.\0"), *ORDERS, (0x69002, b""), (0x6800F, b"second words"))
    mail = EmailMessage()
    mail.set_content("See below.")
    mail.add_attachment(data, maintype="application", subtype="ms-tnef", filename="winmail.dat")
    document = parse("email", bytes(mail))
    assert texts(document) == ["See below.", "The body."]
    assert [(child.name, child.format) for child in document.children] == [
        ("orders.csv", "csv"),
        ("attachment", "text"),
    ]
    assert not document.warnings


@pytest.mark.parametrize("cut", [5, 20, 60, 200])
def test_a_packet_that_breaks_off_gives_what_came_before(cut: int) -> None:
    whole = list(unpacked(packet(*ORDERS, *ORDERS)))
    found = list(unpacked(packet(*ORDERS, *ORDERS)[:-cut]))
    assert found == whole[: len(found)]
    with pytest.raises(DamagedDocument):
        list(unpacked(b"x" * cut))


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (message("multipart/encrypted; boundary=B", b"--B\r\n\r\nx\r\n--B--"), EncryptedDocument, "Decrypt"),
        (message("application/pkcs7-mime; smime-type=enveloped-data", b"0"), EncryptedDocument, "Decrypt"),
        (message("application/x-pkcs7-mime; smime-type=signed-data", b"0"), UnsupportedDocument, "signature"),
        (message("text/plain", PGP), EncryptedDocument, "PGP"),
    ],
)  # fmt: skip
def test_a_message_that_only_its_reader_can_open_is_refused(data: bytes, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        parse("email", data)
    assert "file.email" in str(caught.value)


def test_a_signature_is_no_attachment() -> None:
    body = b"--B\r\nContent-Type: text/plain\r\n\r\nthe words\r\n--B\r\nContent-Type: application/pkcs7-signature"
    document = parse("email", message("multipart/signed; boundary=B", body + b"\r\n\r\n0\r\n--B--"))
    assert texts(document) == ["the words"]
    assert not document.warnings
