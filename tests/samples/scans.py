"""Pages that are pictures of text, English and Chinese: drawn with a font that a package of the developers' brings."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache

from noto_cjk_sans_jp_regular import FONT_PATH
from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.utils import ImageReader

from samples.pdf import canvas

ENGLISH = ("The mill grinds slowly but surely", "and nobody waits for the flour", "until the miller has had his tea")
CHINESE = ("石磨把粮食磨成面粉。", "河边的水车日夜转动，", "推着石磨一圈一圈地走。")


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONT_PATH), size)


def page(lines: Sequence[str], *, size: int = 24, at: tuple[int, int] = (30, 25)) -> Image.Image:
    """Black lines on white, below each other."""
    font = _font(size)
    wide = max(font.getlength(line) for line in lines)
    image = Image.new("RGB", (int(wide) + at[0] + 30, int(1.6 * size * len(lines)) + 2 * at[1]), "white")
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((at[0], at[1] + int(1.6 * size * number)), line, "black", font)
    return image


def turned(image: Image.Image, degrees: float) -> Image.Image:
    """As it comes out of a scanner that it was laid into askew (counter-clockwise)."""
    return image.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor="white")


def encoded(image: Image.Image, format_: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, dpi=(96, 96))
    return buffer.getvalue()


def scanned_pdf(*images: Image.Image) -> bytes:
    """Each picture as a page without any text."""
    buffer, sheet = canvas()
    for image in images:
        wide, high = image.width * 0.5, image.height * 0.5
        sheet.setPageSize((wide, high))
        sheet.drawImage(ImageReader(image), 0, 0, wide, high)  # type: ignore[no-untyped-call]
        sheet.showPage()
    sheet.save()
    return buffer.getvalue()
