"""A collector that is killed (SIGKILL) in the middle and started again, with counts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from data.collect.servers import Arxiv, Paper, Server, StackExchange, answer, question
from tunesmith.data.collect import read_documents

CODE = "import sys; from tunesmith.cli import main; sys.argv[0] = 'tunesmith'; main()"


def command(kind: str, folder: Path, *sets: str) -> list[str]:
    every = [*sets, "interval_s=0", "backoff_s=0.01"]
    options = [part for item in every for part in ("--set", item)]
    home = str(folder.parent / "home")
    return [sys.executable, "-c", CODE, "data", "collect", kind, *options, "--out", str(folder),
            "--home", home, "--json"]  # fmt: skip


def lines(folder: Path) -> int:
    file = folder / "documents.jsonl"
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def kill_at(process: subprocess.Popen[bytes], folder: Path, least: int) -> int:
    """Kill the process as soon as so many documents are there; how many there are then."""
    end = time.monotonic() + 60
    while lines(folder) < least:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    return lines(folder)


def killed_and_resumed(
    server: Server, kind: str, folder: Path, sets: tuple[str, ...], whole: list[str], page: int
) -> None:
    server.delay = 0.15
    written = []
    for least in (2 * page, 5 * page):  # killed twice
        process = subprocess.Popen(
            command(kind, folder, *sets), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        written.append(kill_at(process, folder, least))
    assert 0 < written[0] < written[1] < len(whole)
    saved = [d.id for d in read_documents(folder / "documents.jsonl")]
    assert saved == whole[: written[1]]
    server.delay = 0
    done = subprocess.run(command(kind, folder, *sets), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert [d.id for d in read_documents(folder / "documents.jsonl")] == whole
    assert (value["documents"], value["done"]) == (len(whole), True)
    assert value["new"] == len(whole) - written[1]
    assert value["repeated"] in (0, page)  # killed between a page's documents and its state


@pytest.mark.slow
def test_stack_exchange_killed_twice(tmp_path: Path) -> None:
    questions = [question(n, answers=[answer(1000 + n)]) for n in range(1, 41)]
    whole = [f"stackexchange:stats:{n}" for n in range(1, 41)]
    with StackExchange(questions) as server:
        sets = (f"base_url={server.url}/2.3", "page_size=4")
        killed_and_resumed(server, "stack_exchange", tmp_path / "c", sets, whole, 4)
        listed = Counter(a.query["page"] for a in server.asked if a.path == "/2.3/questions")
    # Ten pages; each kill costs at most the page in flight.
    assert set(listed) == {str(n) for n in range(1, 11)}
    assert sum(listed.values()) <= 10 + 2


@pytest.mark.slow
def test_arxiv_killed_twice(tmp_path: Path) -> None:
    papers = [Paper(f"2401.{n:05}v1") for n in range(40)]
    with Arxiv(papers) as server:
        sets = (f"base_url={server.url}", "page_size=4", "terms=test")
        whole = [f"arxiv:{p.name.removesuffix('v1')}" for p in papers]
        killed_and_resumed(server, "arxiv", tmp_path / "c", sets, whole, 4)
        starts = Counter(a.query["start"] for a in server.asked)
    assert set(starts) == {str(n) for n in range(0, 40, 4)}
    assert sum(starts.values()) <= 10 + 2


@pytest.mark.slow
def test_stopped_by_the_user_it_says_that_it_goes_on(tmp_path: Path) -> None:
    questions = [question(n, answers=[answer(1000 + n)]) for n in range(1, 41)]
    with StackExchange(questions) as server:
        server.delay = 0.15
        sets = (f"base_url={server.url}/2.3", "page_size=4")
        process = subprocess.Popen(
            command("stack_exchange", tmp_path / "c", *sets),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        while lines(tmp_path / "c") < 4:
            assert process.poll() is None, "it ended before it could be stopped"
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, b"")
    assert b"the same command goes on" in err
    assert b"Traceback" not in err
