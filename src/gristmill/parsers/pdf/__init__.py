"""PDF, by pdfium."""

from __future__ import annotations

from gristmill.parsers.pdf.parser import PdfParser

__all__ = ["PdfParser"]
