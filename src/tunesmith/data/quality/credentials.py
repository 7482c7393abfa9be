"""Secrets in text: where keys, tokens and passwords stand, by the patterns of detect-secrets.

The plugins of `detect-secrets` 1.5 are read for their patterns and nothing else, because

- `analyze_line` would verify what it finds by a call to the service: no text ever leaves here;
- `analyze_string` gives the last group of a pattern, which for a GitHub token is `ghp`: hiding
  that would hide nothing. Here the whole match counts; a JSON Web Token is followed to its end
  (its pattern stops before the signature) and a private key to its last line;
- an unquoted password runs to the next quote or to the end of the text: here to the next blank.

Its entropy detectors are left out: they want quoted strings, of which JSON and code are full. A few
kinds that it lacks are added. Each pattern is asked only where a word of its own stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tunesmith.data.quality.spans import Span

# Plugin, and what must stand in the text before its patterns are tried; small letters: any case.
PLUGINS: dict[str, tuple[str, ...]] = {
    "artifactory.ArtifactoryDetector": (
        "AKC",
        "APA",
        "APB",
        "APC",
        "APD",
        "APE",
        "APF",
        "AP0",
        "AP1",
        "AP2",
        "AP3",
        "AP5",
    ),
    "aws.AWSKeyDetector": ("A3T", "ABIA", "ACCA", "AKIA", "ASIA", "aws"),
    "azure_storage_key.AzureStorageKeyDetector": ("accountkey=",),
    "basic_auth.BasicAuthDetector": ("://",),
    "github_token.GitHubTokenDetector": ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    "gitlab_token.GitLabTokenDetector": (
        "glpat-",
        "gldt-",
        "glft-",
        "glsoat-",
        "glrt-",
        "gr1348941",
        "glcbt-",
        "glimt-",
        "glptt-",
        "glagent-",
        "gloas-",
    ),
    "jwt.JwtTokenDetector": ("eyj",),
    "mailchimp.MailchimpDetector": ("-us",),
    "npm.NpmDetector": ("_authtoken",),
    "openai.OpenAIDetector": ("t3blbkfj",),
    "private_key.PrivateKeyDetector": ("begin ",),
    "pypi_token.PypiTokenDetector": ("pypi-",),
    "sendgrid.SendGridDetector": ("sg.",),
    "slack.SlackDetector": ("xox", "hooks.slack.com"),
    "square_oauth.SquareOAuthDetector": ("sq0csp-",),
    "stripe.StripeDetector": ("k_live_",),
    "telegram_token.TelegramBotTokenDetector": (":aa",),
}
OWN = {
    "Anthropic API Key": (r"sk-ant-[A-Za-z0-9_-]{20,}", "sk-ant-"),
    "OpenAI Project Key": (r"sk-(?:proj|svcacct)-[A-Za-z0-9_-]{20,}", "sk-"),
    "Hugging Face Token": (r"\bhf_[A-Za-z0-9]{30,}\b", "hf_"),
    "GitHub Fine-Grained Token": (r"github_pat_[A-Za-z0-9_]{60,}", "github_pat_"),
    "Google API Key": (r"\bAIza[A-Za-z0-9_-]{35}", "aiza"),
}
NAMED = ("passw", "pwd", "secret", "_key", "apikey", "authkey", "db_pass", "dbpass")
_PLACEHOLDER = re.compile(r"[<>{}$*]|your|example|xxx|placeholder|changeme|\.\.\.", re.IGNORECASE)
_TOKEN_REST = re.compile(r"[A-Za-z0-9_.=+/-]*")
_KEY_END = re.compile(r"-----END[^-]*-----")


@dataclass(frozen=True, slots=True)
class _Detector:
    kind: str
    needles: tuple[str, ...]
    pattern: re.Pattern[str]


def secrets(text: str) -> list[Span]:
    """Where secrets stand; spans may overlap."""
    lowered = text.lower()
    found: list[Span] = []
    for detector in _detectors():
        if not any(n in (text if n.isupper() else lowered) for n in detector.needles):
            continue
        for match in detector.pattern.finditer(text):
            span = _span(detector.kind, match, text)
            if span is not None:
                found.append(span)
    if any(word in lowered for word in NAMED):
        found.extend(_named(text))
    return found


def _span(kind: str, match: re.Match[str], text: str) -> Span | None:
    start, end = match.span()
    if kind == "Private Key":
        close = _KEY_END.search(text, end)
        return Span(kind, start, close.end() if close else len(text))
    if kind == "Basic Auth Credentials":
        return Span(kind, *match.span(1))
    if kind == "JSON Web Token":
        rest = _TOKEN_REST.match(text, end)
        return Span(kind, start, rest.end() if rest else end)
    # Every other token holds a digit; a long word in capitals does not.
    return Span(kind, start, end) if any(c.isdigit() for c in match.group()) else None


def _named(text: str) -> Iterator[Span]:
    """Values given to something called a password, a secret or a key."""
    for pattern, group in _assignments():
        for match in pattern.finditer(text):
            value = match.group(group).split()[0] if match.group(group).split() else ""
            value = value.rstrip(".,;)")
            start = match.start(group) + match.group(group).find(value)
            if (
                8 <= len(value) <= 200
                and any(c.isdigit() for c in value)
                and any(c.isalpha() for c in value)
                and not _PLACEHOLDER.search(value)
                and "://" not in value
            ):
                yield Span("Secret Keyword", start, start + len(value))


@cache
def _detectors() -> tuple[_Detector, ...]:
    from importlib import import_module

    found = []
    for name, needles in PLUGINS.items():
        module, _, attribute = name.partition(".")
        plugin = getattr(import_module(f"detect_secrets.plugins.{module}"), attribute)
        found += [_Detector(plugin.secret_type, needles, p) for p in plugin.denylist]
    found += [_Detector(kind, (needle,), re.compile(p)) for kind, (p, needle) in OWN.items()]
    return tuple(found)


@cache
def _assignments() -> tuple[tuple[re.Pattern[str], int], ...]:
    from detect_secrets.plugins import keyword

    return (
        (keyword.FOLLOWED_BY_COLON_REGEX, 4),
        (keyword.FOLLOWED_BY_EQUAL_SIGNS_REGEX, 5),
    )
