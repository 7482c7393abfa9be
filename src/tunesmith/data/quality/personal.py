"""Personal data that has a form: addresses, telephone, account, card and insurance numbers.

A pattern proposes and a kept validator decides: telephone numbers by `phonenumbers` (a port of
libphonenumber), IBAN, card and social security numbers by `python-stdnum`, network addresses by the
standard library. Names of people are not looked for: that takes a language model.

Presidio's recognisers do the same from the same validators, but importing them imports spaCy, and
its e-mail recogniser fetches a list of domains over the network.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from tunesmith.data.quality.spans import Span

KINDS = ("email", "phone", "iban", "payment_card", "us_ssn", "ip_address")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@(?:[^\W_](?:[^\W_]|-)*\.)+[^\W\d_]{2,24}\b")
_RESERVED = re.compile(r"(?:@|\.)(?:example\.(?:com|org|net)|example|test|invalid|localhost)$")
_DIGITS = re.compile(r"\d(?:[ ().-]{0,3}\d){6}")  # seven digits or more, in groups or not
# As people write telephone numbers: +1 901 555 0100, (901) 555-0100, 901-555-0100, 901.555.0100.
_PHONE = re.compile(
    r"(?<![\w/=.,+-])(?:\+\d[\d ().-]{6,18}\d|\(\d{2,5}\)[ -]?\d[\d -]{4,12}\d"
    r"|\d{2,5}-\d[\d -]{4,12}\d|\d{3}\.\d{3}\.\d{4})(?![\w/=]|[.,-]?\d)"
)
_CARD = re.compile(r"(?<![\d.-])[3-6]\d{3}(?:[ -]?\d){9,14}\d?(?![\d-]|\.\d)")
_SSN = re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
# Of IPv6 only what is given out to hosts (2000::/3, RFC 4291, 2.4): a::b is a name in code.
_IP6 = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,34}(?!\w)")
_IP = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)")


def personal(text: str, region: str | None = "US") -> list[Span]:
    """Where personal data stands; addresses reserved for examples (RFC 2606) are none."""
    found: list[Span] = []
    if "@" in text:
        found += [
            Span("email", *m.span())
            for m in _EMAIL.finditer(text)
            if not _RESERVED.search(m.group().lower())
        ]
    if _DIGITS.search(text):
        found += [*_numbers(text), *_phones(text, region)]
    found += _addresses(text)
    return found


def _addresses(text: str) -> Iterator[Span]:
    """Network addresses of the open net; a version of four parts is none."""
    for match in _IP6.finditer(text):
        written = match.group() if match.group().endswith("::") else match.group().rstrip(":")
        if _is_global(written):
            yield Span("ip_address", match.start(), match.start() + len(written))
    for match in _IP.finditer(text):
        before = text[max(0, match.start() - 9) : match.start()].lower().rstrip()
        if _is_global(match.group()) and not before.endswith(("version", "release", " v")):
            yield Span("ip_address", *match.span())


def _is_global(written: str) -> bool:
    try:
        return ipaddress.ip_address(written).is_global
    except ValueError:
        return False


def _numbers(text: str) -> Iterator[Span]:
    from stdnum import iban, luhn
    from stdnum.us import ssn

    for match in _IBAN.finditer(text):
        if iban.is_valid(match.group()):
            yield Span("iban", *match.span())
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        if len(set(digits)) > 1 and luhn.is_valid(digits):
            yield Span("payment_card", *match.span())
    for match in _SSN.finditer(text):
        if ssn.is_valid(match.group()):
            yield Span("us_ssn", *match.span())


def _phones(text: str, region: str | None) -> Iterator[Span]:
    """Numbers that exist, written as telephone numbers are: ten bare digits are any number."""
    import phonenumbers

    for match in _PHONE.finditer(text):
        written = match.group()
        if region is None and not written.startswith("+"):
            continue
        for found in phonenumbers.PhoneNumberMatcher(written, region):
            yield Span("phone", match.start() + found.start, match.start() + found.end)
