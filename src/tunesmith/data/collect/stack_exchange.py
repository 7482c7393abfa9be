"""Questions of a Stack Exchange site with their accepted or best answer (API 2.3).

Wire format: https://api.stackexchange.com/docs (wrapper object, `backoff`, error objects, filters,
throttle). Bodies come as HTML and become Markdown; LaTeX stays as it is. What is written there is
CC BY-SA, whose version depends on the day: https://stackoverflow.com/help/licensing.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from itertools import zip_longest
from typing import Any
from urllib.parse import urlsplit

from tunesmith.config.collect import StackExchangeSettings
from tunesmith.data.collect.answer import Reply, Wish
from tunesmith.data.collect.document import Document
from tunesmith.data.collect.http import DAY, Http, RefusedError
from tunesmith.data.collect.markdown import to_markdown
from tunesmith.data.collect.page import Cursor, Page
from tunesmith.errors import CollectError

THROTTLED = 502  # the API's own number, in an answer with status 400
ANSWERS = 100  # of a page
NEEDED = frozenset({"creation_date", "question_id", "score", "body"})  # of questions and answers
Item = Mapping[str, Any]


def collect_stack_exchange(
    settings: StackExchangeSettings, http: Http, cursor: Cursor | None = None
) -> Iterator[Page]:
    """Pages of questions: of each tag the next ones, mixed, so that none is left out by a limit. A
    question without a fitting answer is skipped."""
    api = _Api(settings, http)
    tags = settings.tags or ("",)
    left: dict[str, int] = dict(cursor["pages"] if cursor else dict.fromkeys(tags, 1))
    while left:
        found: list[Sequence[Document]] = []
        skipped: Counter[str] = Counter()
        following: dict[str, int] = {}
        for tag, number in left.items():
            questions, more = api.items("/questions", _query(settings, tag, number))
            documents, reasons = _documents(settings, api, questions)
            found.append(documents)
            skipped.update(reasons)
            if more:
                following[tag] = number + 1
        left = following
        yield Page(
            tuple(d for row in zip_longest(*found) for d in row if d is not None),
            cursor={"pages": left} if left else None,
            skipped=skipped,
            note=f"{api.quota:,} calls left today" if api.quota is not None else "",
        )


def licence_of(post: Item) -> str:
    """SPDX name of a post's licence: as the API says it, else by the day it was written."""
    said = str(post.get("content_license") or "")
    if found := re.fullmatch(r"CC BY-SA (\d\.\d)", said):
        return f"CC-BY-SA-{found[1]}"
    if said:
        return said
    written = datetime.fromtimestamp(int(post["creation_date"]), UTC).date()
    if written < date(2011, 4, 8):
        return "CC-BY-SA-2.5"
    return "CC-BY-SA-3.0" if written < date(2018, 5, 2) else "CC-BY-SA-4.0"


class _Api:
    """Calls of one site: the key, the quota, the API's own wish for pauses, its errors."""

    def __init__(self, settings: StackExchangeSettings, http: Http) -> None:
        self._settings, self._http = settings, http
        self._key = os.environ.get(settings.key_env, "")
        secret = {"key": self._key} if self._key else {}
        self._wish = Wish(check=_no_json, keep=_is_page, fresh_s=DAY, secret=secret)
        self._host = urlsplit(settings.base_url).netloc
        self._most = 0
        self.quota: int | None = None

    def items(self, path: str, params: Mapping[str, str | int]) -> tuple[list[Item], bool]:
        """The objects of one page, and whether there is another."""
        if self.quota == 0:
            raise CollectError(
                f"{self._host}: the quota of {self._most:,} calls a day is used up.",
                hint=f"Run the same command again tomorrow{self._with_key()}.",
            )
        url = self._settings.base_url.rstrip("/") + path
        wrapper, told = self._call(url, {**params, "site": self._settings.site})
        if not _is_whole(wrapper):
            raise _changed(self._host, "items and has_more", path)
        items, more = wrapper["items"], wrapper["has_more"]
        if told:  # earlier, and so of a quota and a pause that were
            return items, more
        if isinstance(left := wrapper.get("quota_remaining"), int):
            self.quota, self._most = left, int(wrapper.get("quota_max", 0))
        if backoff := wrapper.get("backoff"):
            self._http.pause(url, float(backoff), self._wish)
        return items, more

    def every(self, path: str, params: Mapping[str, str | int]) -> list[Item]:
        """The objects of all pages."""
        found: list[Item] = []
        number, more = 1, True
        while more:
            items, more = self.items(path, {**params, "pagesize": ANSWERS, "page": number})
            found += items
            number += 1
        return found

    def _call(self, url: str, query: Mapping[str, str | int]) -> tuple[Item, bool]:
        """The wrapper object, and whether it was told earlier."""
        for _ in range(self._settings.attempts):
            try:
                reply = self._http.get(url, query, cached=True, wish=self._wish)
            except RefusedError as error:
                fault = _object(error.reply)
                if fault is None or "error_id" not in fault:
                    raise
            else:
                fault = _object(reply) or {}
                if "error_id" not in fault:
                    return fault, reply.from_cache
            message = str(fault.get("error_message", ""))
            if fault["error_id"] != THROTTLED:
                raise self._refusal(fault, message)
            # "too many requests from this IP, more requests available in 82 seconds"
            wait = re.search(r"(\d+) second", message)
            seconds = float(wait[1]) if wait else self._settings.backoff_s
            self._http.pause(url, seconds, self._wish)
        raise CollectError(
            f"{self._host}: throttled {self._settings.attempts} times: {message}.",
            hint=f"Run the same command again later{self._with_key()}.",
        )

    def _refusal(self, fault: Item, message: str) -> CollectError:
        name = str(fault.get("error_name", fault["error_id"]))
        hint = "Check site, tags and the other settings."
        if "key" in message or name in ("key_required", "access_denied"):
            hint = (
                f"Check the key in the environment variable {self._settings.key_env}."
                if self._key
                else f"Put an API key (stackapps.com) into {self._settings.key_env}."
            )
        return CollectError(f"{self._host}: {name}: {message}.", hint=hint)

    def _with_key(self) -> str:
        return "" if self._key else f", or put an API key into {self._settings.key_env}"


def _query(settings: StackExchangeSettings, tag: str, number: int) -> dict[str, str | int]:
    query: dict[str, str | int] = {
        "page": number,
        "pagesize": settings.page_size,
        "filter": "withbody",
        "sort": settings.sort,
        "order": "desc" if settings.sort == "votes" else "asc",
    }
    if tag:
        query["tagged"] = tag
    if settings.sort == "votes":
        query["min"] = settings.min_score
    for name, day in (("fromdate", settings.since), ("todate", settings.until)):
        if day is not None:
            query[name] = int(datetime.combine(day, time(), UTC).timestamp())
    return query


def _documents(
    settings: StackExchangeSettings, api: _Api, questions: Sequence[Item]
) -> tuple[tuple[Document, ...], Mapping[str, int]]:
    skipped: Counter[str] = Counter()
    wanted = []
    for question in questions:
        if int(_need(question, "score", settings)) < settings.min_score:
            skipped["question below min_score"] += 1
        elif settings.answers == "accepted" and "accepted_answer_id" not in question:
            skipped["no accepted answer"] += 1
        elif not question.get("answer_count", 1):
            skipped["no answer"] += 1
        else:
            wanted.append(question)
    documents = []
    answers = _answers(settings, api, wanted)
    for question in wanted:
        answer = _chosen(settings, question, answers[int(question["question_id"])])
        if answer is None:
            skipped["no answer of min_answer_score"] += 1
        else:
            documents.append(_document(settings, question, answer))
    return tuple(documents), skipped


def _answers(
    settings: StackExchangeSettings, api: _Api, questions: Sequence[Item]
) -> Mapping[int, list[Item]]:
    """The answers of each question that may be chosen."""
    if settings.answers == "accepted":
        ids = [_need(q, "accepted_answer_id", settings) for q in questions]
        path = f"/answers/{';'.join(map(str, ids))}"
    else:
        ids = [_need(q, "question_id", settings) for q in questions]
        path = f"/questions/{';'.join(map(str, ids))}/answers"
    found: dict[int, list[Item]] = defaultdict(list)
    if ids:
        for answer in api.every(path, {"filter": "withbody", "sort": "votes", "order": "desc"}):
            found[int(_need(answer, "question_id", settings))].append(answer)
    return found


def _chosen(
    settings: StackExchangeSettings, question: Item, answers: Sequence[Item]
) -> Item | None:
    good = [a for a in answers if int(_need(a, "score", settings)) >= settings.min_answer_score]
    accepted = question.get("accepted_answer_id")
    taken = [a for a in good if a.get("answer_id") == accepted]
    if taken or settings.answers == "accepted":
        return taken[0] if taken else None
    return max(good, key=lambda a: int(a["score"]), default=None)


def _document(settings: StackExchangeSettings, question: Item, answer: Item) -> Document:
    number = int(_need(question, "question_id", settings))
    url = str(_need(question, "link", settings))
    parts = urlsplit(url)
    accepted = answer.get("answer_id") == question.get("accepted_answer_id")
    licences = dict.fromkeys((licence_of(question), licence_of(answer)))
    return Document(
        id=f"stackexchange:{settings.site}:{number}",
        source="stack_exchange",
        url=url,
        title=html.unescape(str(_need(question, "title", settings))),
        text=to_markdown(str(_need(question, "body", settings))),
        answer=to_markdown(str(_need(answer, "body", settings))),
        licence=" AND ".join(sorted(licences)),
        author=f"question by {_credit(question)}; answer by {_credit(answer)}",
        date=datetime.fromtimestamp(int(question["creation_date"]), UTC).isoformat(),
        meta={
            "tags": ", ".join(question.get("tags", ())),
            "score": str(question["score"]),
            "answer_score": str(answer["score"]),
            "answer_url": f"{parts.scheme}://{parts.netloc}/a/{answer['answer_id']}",
            "accepted": "yes" if accepted else "no",
        },
    )


def _credit(post: Item) -> str:
    """Name and page of a post's author; authors who left have no page."""
    owner = post.get("owner") or {}
    name = html.unescape(str(owner.get("display_name") or "an author who left"))
    return f"{name} ({owner['link']})" if owner.get("link") else name


def _need(item: Item, key: str, settings: StackExchangeSettings) -> Any:
    if not isinstance(item, Mapping) or item.get(key) is None or "creation_date" not in item:
        what = key if isinstance(item, Mapping) and "creation_date" in item else "creation_date"
        raise _changed(urlsplit(settings.base_url).netloc, what, "an item")
    return item[key]


def _changed(host: str, what: str, where: str) -> CollectError:
    return CollectError(
        f"{host}: {where} holds no {what}: this is not the API 2.3 that this version knows.",
        hint="Check base_url; if the API has changed, look for a newer Tunesmith.",
    )


def _object(reply: Reply) -> Item | None:
    try:
        value = json.loads(reply.body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _no_json(reply: Reply) -> str | None:
    return "sends a body that is no whole JSON object" if _object(reply) is None else None


def _is_whole(wrapper: Item) -> bool:
    return isinstance(wrapper.get("items"), list) and isinstance(wrapper.get("has_more"), bool)


def _is_page(reply: Reply) -> bool:
    """Whether an answer may be kept: an error, or what nobody knows, may be another one soon."""
    wrapper = _object(reply) or {}
    return _is_whole(wrapper) and all(
        isinstance(item, dict) and item.keys() >= NEEDED for item in wrapper["items"]
    )
