"""Bytes to text, whatever they were encoded with."""

from __future__ import annotations

from contextlib import suppress

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

TEXTS = {  # texts of every day: manuals, minutes
    "zh1": "欢迎使用我们的产品。请仔细阅读以下说明，如有疑问请联系客服中心。保修期为一年，凭发票享受服务，谢谢您的支持与信任，祝您生活愉快。",
    "zh2": "会议纪要：王经理介绍了上季度销售情况，华东区增长百分之十二，华南区下降。李工汇报了服务器迁移的进度，预计下周三完成测试工作。",
    "tw1": "歡迎使用我們的產品。請仔細閱讀以下說明，如有疑問請聯繫客服中心。保固期為一年，憑發票享受服務，謝謝您的支持與信任，祝您生活愉快。",
    "tw2": "會議紀錄：王經理介紹了上一季的銷售情況，北區成長百分之十二，南區則下降。李工程師報告了伺服器搬遷的進度，預計下週三完成測試。",
    "ja1": "本製品をお買い上げいただきありがとうございます。ご使用前に必ず取扱説明書をお読みください。保証期間は一年間です。東京都千代田区",
    "ja2": "会議録：田中部長より前四半期の売上について報告があった。関東地区は十二パーセント増加、関西地区は減少。サーバー移行は来週完了予定。",
    "ko1": "저희 제품을 구입해 주셔서 감사합니다. 사용하기 전에 반드시 설명서를 읽어 주십시오. 보증 기간은 일 년입니다. 서울특별시 강남구",
    "ko2": "회의록: 김 부장이 지난 분기 매출 현황을 보고하였다. 수도권은 십이 퍼센트 증가하였고 영남권은 감소하였다. 서버 이전은 다음 주에 완료",
    "ru1": "Благодарим вас за покупку нашего изделия. Перед использованием внимательно прочитайте инструкцию. Гарантийный срок один год.",
    "ru2": "ПРОТОКОЛ СОВЕЩАНИЯ. Иванов доложил о продажах за прошлый квартал: рост двенадцать процентов в Москве, снижение в Сибири.",
    "ru3": "Name: Иван Петров, city: Москва, status: активен; Name: Анна Смирнова, city: Казань, status: заблокирован",
    "de1": "Vielen Dank für den Kauf unseres Geräts. Bitte lesen Sie vor der Benutzung die Anleitung sorgfältig durch. Die Garantie läuft ein Jahr; größere Schäden melden.",
    "fr1": "Merci d’avoir acheté notre produit. Veuillez lire attentivement le mode d’emploi avant de l’utiliser. La garantie est d’une année à compter de l’été.",
    "fr2": "Le procès-verbal a été rédigé par M. Lefèvre à l'hôtel. Où est passée la fenêtre?",
    "es1": "Gracias por comprar nuestro producto. Lea atentamente las instrucciones antes de usarlo. ¿Tiene preguntas? Llámenos mañana. Año de garantía.",
    "pt1": "Obrigado por comprar o nosso produto. Leia as instruções antes de usar. A garantia é de um ano; não cobre danos de transporte. São Paulo",
    "pl1": "Dziękujemy za zakup naszego produktu. Przed użyciem prosimy uważnie przeczytać instrukcję. Gwarancja trwa jeden rok. Łódź, Kraków, żółć",
    "cs1": "Děkujeme za zakoupení našeho výrobku. Před použitím si pečlivě přečtěte návod. Záruka trvá jeden rok. Příliš žluťoučký kůň",
    "hu1": "Köszönjük, hogy megvásárolta termékünket. Használat előtt kérjük, figyelmesen olvassa el az útmutatót. A jótállás egy év, őrült idő.",
    "el1": "Σας ευχαριστούμε για την αγορά του προϊόντος μας. Διαβάστε προσεκτικά τις οδηγίες πριν από τη χρήση. Η εγγύηση ισχύει έναν χρόνο.",
    "he1": "תודה שרכשתם את המוצר שלנו. אנא קראו בעיון את ההוראות לפני השימוש. האחריות תקפה לשנה אחת.",
    "ar1": "شكرا لشرائكم منتجنا. يرجى قراءة التعليمات بعناية قبل الاستخدام. الضمان ساري لمدة سنة واحدة.",
    "th1": "ขอบคุณที่ซื้อผลิตภัณฑ์ของเรา โปรดอ่านคู่มืออย่างละเอียดก่อนใช้งาน การรับประกันมีระยะเวลาหนึ่งปี",
    "tr1": "Ürünümüzü satın aldığınız için teşekkür ederiz. Kullanmadan önce lütfen talimatları dikkatlice okuyun. Garanti süresi bir yıldır. İstanbul, ışık, şeker",
    "vi1": "Cảm ơn quý khách đã mua sản phẩm của chúng tôi. Vui lòng đọc kỹ hướng dẫn trước khi sử dụng.",
    "uk1": "Дякуємо за придбання нашого виробу. Перед використанням уважно прочитайте інструкцію. Гарантія діє один рік. Її ціна є.",
    "sv1": "Tack för att du köpte vår produkt. Läs anvisningarna noga före användning. Garantin gäller i ett år. Östersund, Malmö, Ängelholm",
    "en": "Thank you for buying our product – please read the “manual” before use. It’s covered for one year at £20.",
}
ENCODINGS = {
    "zh": ("gbk", "gb18030", "hz"),
    "tw": ("big5", "cp950", "big5hkscs"),
    "ja": ("cp932", "euc_jp", "iso2022_jp"),
    "ko": ("cp949", "euc_kr", "iso2022_kr"),
    "ru": ("cp1251", "koi8_r", "cp866", "iso8859_5", "mac_cyrillic"),
    "uk": ("cp1251", "koi8_u"),
    "de": ("cp1252", "latin-1", "iso8859_15", "mac_roman", "cp850"),
    "fr": ("cp1252", "latin-1", "mac_roman", "cp850"),
    "es": ("cp1252", "latin-1", "mac_roman", "cp850"),
    "pt": ("cp1252", "latin-1"),
    "sv": ("cp1252", "latin-1", "mac_roman"),
    "pl": ("cp1250", "iso8859_2"),
    "cs": ("cp1250", "iso8859_2"),
    "hu": ("cp1250", "iso8859_2"),
    "el": ("cp1253", "iso8859_7"),
    "he": ("cp1255",),
    "ar": ("cp1256", "iso8859_6"),
    "th": ("cp874", "tis_620"),
    "tr": ("cp1254", "iso8859_9"),
    "vi": ("cp1258",),
    "en": ("cp1252", "mac_roman"),
}  # fmt: skip
UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


@pytest.mark.parametrize("name", TEXTS)
def test_a_short_text_of_any_language_is_read_in_any_encoding_that_it_is_stored_in(name: str) -> None:
    whole = TEXTS[name]
    for encoding in (*ENCODINGS[name.rstrip("123")], *UNICODE):
        for text in (whole, whole[:60], whole[-62:], whole[20:85]):
            with suppress(UnicodeEncodeError):  # an old encoding lacks letters
                assert decode(text.encode(encoding))[0] == text, (encoding, text)


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
