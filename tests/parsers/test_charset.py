"""Bytes to text, whatever they were encoded with."""

from __future__ import annotations

import pytest

from gristmill.parsers.charset import decode, odd_share

ZH = "为了保护个人信息权益，规范个人信息处理活动，促进个人信息合理利用，根据宪法，制定本法。" * 8
TW = "為了保護個人資訊權益，規範個人資訊處理活動，促進個人資訊合理利用，根據憲法，制定本法。" * 8
JA = "この法律は、個人情報の適正な取扱いに関し、基本理念を定めるものとする。データの処理について。" * 8
KO = "이 법은 개인정보의 처리 및 보호에 관한 사항을 정함으로써 개인의 자유와 권리를 보호한다. " * 8
RU = "Настоящий закон регулирует отношения, связанные с обработкой персональных данных граждан. " * 8
EL = "Η παρούσα πράξη ρυθμίζει την επεξεργασία δεδομένων προσωπικού χαρακτήρα. " * 8
HE = "הזכות לפרטיות ולהגנה על מידע אישי. " * 8
AR = "حماية البيانات الشخصية والخصوصية. " * 8
TH = "ข้อมูลส่วนบุคคลและการคุ้มครอง " * 8
CS = "Příliš žluťoučký kůň úpěl ďábelské ódy. Zákon o ochraně osobních údajů. " * 8
DE = "Größe, Äpfel und Öl: „schöne Grüße“ aus München – für 20 €. " * 8


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *((ZH, name) for name in ("utf-8", "utf-8-sig", "gb18030", "gbk", "utf-16", "utf-16-le", "utf-16-be", "utf-32")),
        (TW, "big5"), (JA, "cp932"), (JA, "euc_jp"), (JA, "iso2022_jp"), (KO, "cp949"), (RU, "cp1251"), (RU, "koi8_r"),
        (RU, "utf-16-le"), (RU, "cp866"),
        (EL, "cp1253"), (HE, "cp1255"), (AR, "cp1256"), (TH, "cp874"), (CS, "cp1250"), ("é", "cp1252"),
        (DE, "cp1252"), (DE, "utf-16-le"), ("plain words only " * 9, "ascii"),
    ],
)  # fmt: skip
def test_common_encodings_are_told_apart_without_being_named(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding))[0] == text


@pytest.mark.parametrize(
    ("declared", "encoding"), [("gb2312", "gbk"), ("GBK", "gb18030"), ('"big5"', "big5hkscs"), ("iso-8859-1", "cp1252")]
)
def test_a_declared_encoding_is_believed_where_the_bytes_are_not_utf8(declared: str, encoding: str) -> None:
    text = "報告" if "big5" in encoding else "20 €" if encoding == "cp1252" else "报告"
    assert decode(text.encode(encoding), declared=declared)[0] == text


@pytest.mark.parametrize("declared", ["", "no-such-codec", "base64", "utf-8", "../../etc", "\0"])
def test_a_nonsense_declaration_changes_nothing(declared: str) -> None:
    assert decode("Größe 中文".encode(), declared=declared)[0] == "Größe 中文"


def test_utf8_with_some_foreign_lines_keeps_both() -> None:
    text, _ = decode((ZH + "\n").encode() * 9 + (ZH + "\n").encode("gbk") * 2)
    assert text == (ZH + "\n") * 11


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x80\x81\xfe" * 99, bytes(range(256)), b"\xff\xfe\0", b"\xd8\0" * 3])
def test_any_bytes_become_some_text(data: bytes) -> None:
    assert isinstance(decode(data)[0], str)


def test_the_share_of_odd_characters() -> None:
    assert odd_share("") == 1.0
    assert odd_share("words\n\t") == 0.0
    assert odd_share("ab\0\ufffd") == 0.5
