"""The text of a PDF, by pypdf."""

from __future__ import annotations

import io
import logging
import re
from dataclasses import dataclass

from tunesmith.data.collect.page import library

FEWEST = 20  # letters a page in the mean: below it, a PDF is pictures of pages


@dataclass(frozen=True, slots=True)
class Extracted:
    """Text of a PDF, with its title where it bears one; `fault` says why there is no text."""

    text: str
    title: str = ""
    author: str = ""
    pages: int = 0
    fault: str = ""


def pdf_text(data: bytes) -> Extracted:
    """The text of a PDF's bytes, its pages parted by blank lines; never raises for a bad PDF."""
    pypdf = library("pypdf")
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of each oddity it passes over
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            return Extracted("", fault="PDF locked by a password")
        pages = [_tidy(page.extract_text()) for page in reader.pages]
        facts = reader.metadata
    # Broken PDFs make pypdf raise nearly anything: its own errors, KeyError, RecursionError, ...
    except Exception as error:  # noqa: BLE001
        return Extracted("", fault=f"PDF cannot be read ({type(error).__name__})")
    text = "\n\n".join(page for page in pages if page)
    if sum(map(str.isalpha, text)) < FEWEST * max(1, len(pages)):
        return Extracted("", pages=len(pages), fault="PDF without text (pictures of pages?)")
    title = str((facts and facts.title) or "").strip()
    author = str((facts and facts.author) or "").strip()
    return Extracted(text, title, author, len(pages))


def _tidy(page: str) -> str:
    """Words that the line's end parts are joined; lines keep their ends."""
    joined = re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", page)
    return re.sub(r"[ \t]+", " ", joined).strip()
