"""HTML to Markdown, with LaTeX left as it is written.

markdownify does the work. Its escapes would turn `$x_i * y_j$` into `$x\\_i \\* y\\_j$`, which no
longer is the formula; so what stands between dollar signs, or between \\begin and \\end, is passed
through.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from tunesmith.data.collect.page import library

# $$...$$ over lines; \begin{x}...\end{x}; $...$ without a space inside its signs, so that "$5 and
# $6" is money.
MATH = re.compile(
    r"\$\$.+?\$\$|\\begin\{([a-z]+\*?)\}.+?\\end\{\1\}|\$(?! )(?:\\.|[^$\\])+?(?<! )\$(?!\d)",
    re.DOTALL,
)
NO_TEXT = ("script", "style", "noscript", "template", "svg", "nav", "header", "footer", "form")


def to_markdown(html: str) -> str:
    """Markdown of a piece of HTML or of a whole page (its body)."""
    soup = soup_of(html)
    return soup_markdown(soup.body or soup)


def soup_of(html: str) -> Any:
    """The parsed HTML."""
    return library("bs4").BeautifulSoup(html, "html.parser")


def soup_markdown(tag: Any) -> str:
    """Markdown of a parsed piece; scripts, menus and pictures' sources are left out."""
    for unread in tag.find_all(NO_TEXT):
        unread.decompose()
    text = _converter()(
        heading_style="ATX", bullets="-", code_language_callback=_language
    ).convert_soup(tag)
    lines = [line.rstrip() for line in text.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


@cache
def _converter() -> Any:
    base: Any = library("markdownify").MarkdownConverter

    class Converter(base):  # type: ignore[misc] # the library has no types
        """Escapes what is between formulas, and nothing in them."""

        def escape(self, text: str, parent_tags: set[str]) -> str:
            parts, end = [], 0
            for found in MATH.finditer(text):
                parts += [super().escape(text[end : found.start()], parent_tags), found.group()]
                end = found.end()
            return "".join([*parts, super().escape(text[end:], parent_tags)])

    return Converter


def _language(pre: Any) -> str:
    """The language that a code block's class names, in the ways of Stack Exchange and Hugo."""
    tags = [pre, *pre.find_all("code", limit=1)]
    names = [name for tag in tags for name in (tag.get("class") or ())]
    for name in names:
        if found := re.match(r"lang(?:uage)?-(\w+)", name):
            return "" if found[1] == "none" else found[1]
    return ""
