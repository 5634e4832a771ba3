"""From the coordinates that a page is written in to those it is seen in: points, origin top left, y down."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import pypdfium2.raw as pdfium

_QUARTERS = 4
Sides = tuple[float, float, float, float]
"""Left, top, right and bottom of what is seen."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What is seen of a page: a cut of its plane, which need not begin at nought, turned by quarters clockwise."""

    left: float
    bottom: float
    right: float
    top: float
    quarters: int = 0

    @classmethod
    def of(cls, page: Any) -> Frame:
        """The frame of an open page."""
        box = pdfium.FS_RECTF()
        if not pdfium.FPDF_GetPageBoundingBox(page.raw, box):
            return cls(0.0, 0.0, page.get_width(), page.get_height())
        quarters = max(0, int(pdfium.FPDFPage_GetRotation(page.raw))) % _QUARTERS
        return cls(box.left, min(box.bottom, box.top), box.right, max(box.bottom, box.top), quarters)

    def place(self, left: float, bottom: float, right: float, top: float) -> Sides:
        """Where a rectangle of the page's plane is seen."""
        if self.quarters == 0:
            return left - self.left, self.top - top, right - self.left, self.top - bottom
        if self.quarters == 1:
            return bottom - self.bottom, left - self.left, top - self.bottom, right - self.left
        if self.quarters == 2:
            return self.right - right, bottom - self.bottom, self.right - left, top - self.bottom
        return self.top - top, self.right - right, self.top - bottom, self.right - left


def bounds(raw: Any) -> Sides | None:
    """The rectangle around a page's object as the page's plane has it: left, bottom, right, top."""
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    if not pdfium.FPDFPageObj_GetBounds(raw, left, bottom, right, top):
        return None
    return left.value, bottom.value, right.value, top.value
