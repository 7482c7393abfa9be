"""Secrets and personal data: planted ones found and hidden whole, look-alikes left alone."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.quality.examples import example
from tunesmith.data.quality import urls
from tunesmith.data.quality.credentials import secrets
from tunesmith.data.quality.mask import (
    hide,
    masked,
    masked_example,
    masked_finding,
    masked_value,
)
from tunesmith.data.quality.personal import personal
from tunesmith.data.quality.spans import Span
from tunesmith.records import Finding, Severity

_DRAW = random.Random(7)


def _some(alphabet: str, count: int) -> str:
    """Characters of an alphabet, a digit among them: no real key was harmed."""
    return "7" + "".join(_DRAW.choices(alphabet, k=count - 1))


ALNUM = string.ascii_letters + string.digits
UPPER = string.ascii_uppercase + string.digits
# Put together here, so that no scanner takes this file for a leak.
KEYS = [
    "AKIA" + _some(UPPER, 16),
    "ghp_" + _some(ALNUM, 36),
    "github_pat_" + _some(ALNUM, 82),
    "glpat-" + _some(ALNUM, 20),
    "sk-ant-" + _some(ALNUM, 40),
    "sk-proj-" + _some(ALNUM, 48),
    "sk-" + _some(ALNUM, 20) + "T3BlbkFJ" + _some(ALNUM, 20),
    "hf_" + _some(ALNUM, 34),
    "AIza" + _some(ALNUM, 35),
    "xoxb-" + "123456789012-" + _some(ALNUM, 24),
    "sk_live_" + _some(ALNUM, 24),
    "SG." + _some(ALNUM, 22) + "." + _some(ALNUM, 43),
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0." + _some(ALNUM, 43),
    "sk-" + _some(ALNUM, 48),
]
INNOCENT = [
    "The p-value was 0.031 (n = 12,345) and the ratio 1.234567.",
    '{"allowed_actions": ["read", "write"], "department": "Legal", "password_reset": true}',
    "Your password must be at least 12 characters long and hold a digit.",
    'digraph { a [pos="26.748,3.903 26.748,7.4918 26.748,19.323"]; a -> b; }',
    "Version 1.2.3.4 of 2024-05-17 at 10:15:30, order 5551234567, ISBN 978-3-16-148410-0",
    "Use password: <your password here> and secret = ${SECRET_KEY1}",
    "write to someone@example.com, or to localhost 127.0.0.1 and 192.168.1.10",
    "The sequence 1-2-3-4-5-6-7-8 and the range 100-200, 300-400.",
    "My password is incorrect, your password is sha256-hashed, the password is required.",
    'password = "$PASSWORD1", secret: "${SECRET_2}", api_key="<key-1>", pwd: "********"',
    'password=auth_info[2], secret_key=hashlib.sha256(text), secret = os.environ["SECRET_1"]',
    "Authorization: Bearer YOUR_TOKEN_1, Authorization: Basic Authentication, Bearer {token1}",
    "std::vector, a::b, 10:15:30, 2001:db8::1, fe80::1, ::1, 12:30:45:50, the sk-container-id-1",
    "A bearer of good news arrived on 2014-05-17.",
]
PERSONAL = {
    "email": "jane.doe@memphis-college.edu",
    "phone": "(901) 678-2169",
    "iban": "DE89 3704 0044 0532 0130 00",
    "payment_card": "4111 1111 1111 1111",
    "us_ssn": "536-90-4399",
    "ip_address": "8.8.8.8",
}
# What people write around a password, with the password.
TOLD = [
    ('password: "hunter2"', "hunter2"),
    ('password = "Tr0ub4dor$3xyz"', "Tr0ub4dor$3xyz"),
    ('{\\"password\\": \\"hunter2\\"}', "hunter2"),
    ("My password is Sup3rSecret99.", "Sup3rSecret99"),
    ("the password for joe was 'hunter2', and", "hunter2"),
    ("curl -H 'Authorization: Bearer 7a8Bc9dE0fGh'", "7a8Bc9dE0fGh"),
    ("authorization: basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA=="),
    ("with the header bearer a1b2c3d4e5f6a7b8c9d0e1f2", "a1b2c3d4e5f6a7b8c9d0e1f2"),
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_hidden_to_its_last_character(key: str) -> None:
    text = f"Set the token to {key} and go on."
    hidden = masked(text)
    assert hidden.startswith("Set the token to [")
    assert hidden.endswith("] and go on.")
    assert key[-12:] not in hidden
    assert key[4:16] not in hidden


def test_a_private_key_is_hidden_with_its_body() -> None:
    body = "\n".join(_some(ALNUM, 64) for _ in range(4))
    text = f"a\n-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\nb"
    assert masked(text) == "a\n-----[private_key]\nb" or masked(text) == "a\n[private_key]\nb"
    assert masked(text.partition("-----END")[0]).endswith("[private_key]")


def test_passwords_by_their_names() -> None:
    assert "hunter2abc" not in masked('db_password = "hunter2abc"')
    assert "s3cr3tvalue" not in masked("secret: s3cr3tvalue and so on")
    assert masked("secret: s3cr3tvalue and so on").endswith("and so on")
    assert "pa55word" not in masked("postgres://joe:pa55word@db.internal/x")


@pytest.mark.parametrize(("text", "word"), TOLD)
def test_a_password_by_the_words_around_it(text: str, word: str) -> None:
    hidden = masked(text)
    assert word not in hidden
    assert hidden.startswith(text[: text.index(word)])
    assert hidden.endswith(text[text.index(word) + len(word) :])


def test_addresses_of_both_families() -> None:
    assert masked("from 2a00:1450:4001:81b::200e: yes") == "from [ip_address]: yes"
    assert masked("[2606:4700:4700::1111]:443") == "[[ip_address]]:443"


def test_an_address_of_a_host_in_any_script() -> None:
    assert masked("an jan@bücher-laden.de geschrieben") == "an [email] geschrieben"


def test_a_finding_is_masked_by_its_region() -> None:
    told = Finding("x", Severity.INFO, "call (020) 7946 0958 now", 1)
    assert masked_finding(told, "GB").message == "call [phone] now"
    assert masked_finding(told).message == told.message


@pytest.mark.parametrize(("kind", "text"), PERSONAL.items())
def test_personal_data_by_kind(kind: str, text: str) -> None:
    assert [span.kind for span in personal(f"It is {text}, I think.")] == [kind]
    assert masked(f"It is {text}, I think.") == f"It is [{kind}], I think."


@pytest.mark.parametrize("text", INNOCENT)
def test_look_alikes_are_left_alone(text: str) -> None:
    assert masked(text) == text
    assert not secrets(text)
    assert not personal(text)


def test_wrong_check_digits_are_no_accounts() -> None:
    assert not personal("DE88 3704 0044 0532 0130 00")
    assert not personal("4111 1111 1111 1112")


def test_national_numbers_need_a_region() -> None:
    assert personal("call (901) 678-2169", None) == []
    assert personal("call +1 901 678 2169", None)[0].kind == "phone"


@given(st.text(max_size=200))
def test_masking_twice_is_masking_once(text: str) -> None:
    once = masked(text)
    assert masked(once) == once


@given(st.text(max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20))))
def test_what_is_hidden_is_gone_and_the_rest_stays(text: str, found: list[tuple[int, int]]) -> None:
    spans = [Span("x", a, min(len(text), a + n)) for a, n in found if a < len(text)]
    covered = {i for s in spans for i in range(s.start, s.end)}
    left = "".join(c for i, c in enumerate(text) if i not in covered)
    assert hide(text, spans).replace("[x]", "") == left.replace("[x]", "")


def test_every_text_of_a_row_is_masked() -> None:
    row = {"a": [KEYS[0], {"b": PERSONAL["email"]}], "n": 3, "none": None}
    assert masked_value(row) == {"a": ["[aws_access_key]", {"b": "[email]"}], "n": 3, "none": None}


def test_a_secret_is_hidden_before_a_link_is_shortened() -> None:
    token = "ghp_" + _some(string.ascii_letters + string.digits, 36)
    url = f"https://example.com/path/that/is/quite/long?access_token={token}%zz"
    (flag,) = urls.broken([example("Where?", f"See {url}")])
    assert token[:12] not in flag.hits[0].note


def test_metadata_is_masked_with_its_example() -> None:
    told = masked_example(example("Who?", meta={"topic": "write to jane.doe@memphis-college.edu"}))
    assert told.meta == {"topic": "write to [email]"}
