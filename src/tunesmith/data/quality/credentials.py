"""Secrets in text: where keys, tokens and passwords stand, by the patterns of detect-secrets.

The plugins of `detect-secrets` 1.5 are read for their patterns and nothing else, because

- `analyze_line` would verify what it finds by a call to the service: no text ever leaves here;
- `analyze_string` gives the last group of a pattern, which for a GitHub token is `ghp`: hiding
  that would hide nothing. Here the whole match counts; a JSON Web Token is followed to its end
  (its pattern stops before the signature) and a private key to its last line;
- its values of something called a password take any code for one: here a call or an index is none.

Its entropy detectors are left out: they want quoted strings, of which JSON and code are full. A few
kinds that it lacks are added. Each pattern is asked only where a word of its own stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tunesmith.data.quality.spans import Span

# Their first letters are common, and their capitals are not.
_CAPITALS = re.compile(r"A(?:KC|P[0-35A-F]|3T|BIA|CCA|KIA|SIA)")
CAPITALS = "A"
# Plugin, and what must stand in the text, in any case, before its patterns are tried.
PLUGINS: dict[str, tuple[str, ...]] = {
    "artifactory.ArtifactoryDetector": (CAPITALS,),
    "aws.AWSKeyDetector": (CAPITALS, "aws"),
    "azure_storage_key.AzureStorageKeyDetector": ("accountkey=",),
    "basic_auth.BasicAuthDetector": ("://",),
    "github_token.GitHubTokenDetector": ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    "gitlab_token.GitLabTokenDetector": (
        *("glpat-", "gldt-", "glft-", "glsoat-", "glrt-", "gr1348941"),
        *("glcbt-", "glimt-", "glptt-", "glagent-", "gloas-"),
    ),
    "jwt.JwtTokenDetector": ("eyj",),
    "mailchimp.MailchimpDetector": ("-us",),
    "npm.NpmDetector": ("_authtoken",),
    "openai.OpenAIDetector": ("t3blbkfj",),
    "private_key.PrivateKeyDetector": ("private key", "putty-user-key"),
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
    "Secret Key": (r"\bsk-[A-Za-z0-9]{32,64}\b", "sk-"),  # OpenAI's older ones, and many others'
    "Authorization Header": (
        r"(?i:\bauthorization[\\'\"]{0,2}\s*[:=]\s*[\\'\"]{0,2}(?:bearer|basic|token)\s+)"
        r"([A-Za-z0-9._~+/=-]{8,})",
        "authorization",
    ),
    "Bearer Token": (r"\b[Bb]earer\s+([A-Za-z0-9._~+/=-]{20,})", "bearer"),
}
INNER = frozenset({"Basic Auth Credentials", "Authorization Header", "Bearer Token"})  # group 1
NAMED = ("passw", "passphrase", "pwd", "secret", "key", "db_pass", "dbpass", "contrase")
# A name, and its value in quotes or up to the next blank; the quotes of JSON in JSON are escaped.
_ASSIGNED = re.compile(
    r"(?:passw(?:or)?d|passphrase|pwd|secret|contrase(?:\xf1|n)a|(?:db|database|key)_?pass"
    r"|(?:api|auth|access|service|account|db|database|priv|private|client)_?key)"
    r"\w*[\]\\'\"`]{0,4}\s*(?::=|:|=>|={1,3}|!==?)\s*\\?"
    r"(?:(?P<mark>['\"`])(?P<quoted>[^'\"`\\\s]{6,200})\\?(?P=mark)"
    r"|(?P<bare>[^\s'\"`,;()\[\]{}<>\\]{8,200}+)(?![(\[{]))",
    re.IGNORECASE,
)
_SAID = re.compile(
    r"\b(?:password|passphrase|passcode)(?: (?:for|of|to) \S{1,40})? (?:is|was):? ['\"`]?"
    r"(?P<said>[^\s'\"`<>(){}\[\]]{6,200})",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"[<>{}]|^\$[A-Za-z_]|^%\w+%$|\*\*|your|example|xxx|placeholder|changeme|\.\.\.", re.IGNORECASE
)
_ALGORITHM = re.compile(r"^(?:sha|md|bcrypt|pbkdf|argon|aes|base|utf|rsa|hmac|rfc|iso)\W?\d", re.I)
_TOKEN_REST = re.compile(r"[A-Za-z0-9_.=+/-]*")
_KEY_END = re.compile(r"-----END[^-]*-----")


@dataclass(frozen=True, slots=True)
class _Detector:
    kind: str
    pattern: re.Pattern[str]


def secrets(text: str) -> list[Span]:
    """Where secrets stand; spans may overlap."""
    lowered = text.lower()
    detectors = _detectors()
    there = [word for word in detectors if word in lowered]
    if _CAPITALS.search(text):
        there.append(CAPITALS)
    found: list[Span] = []
    for detector in dict.fromkeys(it for word in there for it in detectors[word]):
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
    if kind == "JSON Web Token":
        rest = _TOKEN_REST.match(text, end)
        return Span(kind, start, rest.end() if rest else end)
    if kind in INNER:
        start, end = match.span(1)
    value = text[start:end]
    # Every other token holds a digit or mixes its letters; a word, also in capitals, does not.
    mixed = any(c.islower() for c in value) and any(c.isupper() for c in value[1:])
    drawn = any(c.isdigit() for c in value) or (kind == "Authorization Header" and mixed)
    kept = kind == "Basic Auth Credentials" or (drawn and not _PLACEHOLDER.search(value))
    return Span(kind, start, end) if kept else None


def _named(text: str) -> Iterator[Span]:
    """Values given to something called a password, a secret or a key."""
    for match in (*_ASSIGNED.finditer(text), *_SAID.finditer(text)):
        group = str(match.lastgroup)
        value = match[group] if group == "quoted" else match[group].rstrip(".,;:)!?")
        if (
            any(c.isdigit() for c in value)
            and any(c.isalpha() for c in value)
            and not _PLACEHOLDER.search(value)
            and not (group != "quoted" and _ALGORITHM.search(value))
            and "://" not in value
        ):
            yield Span("Secret Keyword", match.start(group), match.start(group) + len(value))


@cache
def _detectors() -> dict[str, list[_Detector]]:
    """The detectors by what must stand in a text in small letters; no capital ever does."""
    from importlib import import_module

    found: dict[str, list[_Detector]] = {}
    for name, needles in PLUGINS.items():
        module, _, attribute = name.partition(".")
        plugin = getattr(import_module(f"detect_secrets.plugins.{module}"), attribute)
        for needle in needles:
            found.setdefault(needle, []).extend(
                _Detector(plugin.secret_type, p) for p in plugin.denylist
            )
    for kind, (pattern, needle) in OWN.items():
        found.setdefault(needle, []).append(_Detector(kind, re.compile(pattern)))
    return found
