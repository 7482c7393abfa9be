"""Near-duplicate prompts: MinHash finds candidates, an exact Jaccard similarity decides.

Two prompts are near-duplicates where the sets of their 5-character shingles (lower case, runs of
anything but letters and digits made one blank) have a Jaccard similarity of at least 0.8. Shingles
that stand in more than a quarter of all prompts, such as an instruction that every prompt repeats,
say nothing about likeness and are left out first, as is the system message.

Candidates: Broder 1997 (doi:10.1109/SEQUEN.1997.666900), banded as in Leskovec, Rajaraman, Ullman,
*Mining of Massive Datasets*, section 3.4. With 16 bands of 4 hashes a pair of similarity 0.8
becomes a candidate with probability 1 - (1 - 0.8^4)^16 = 0.9998. Every candidate is compared
exactly, so no pair below the threshold is ever reported. Integers only, and no random state:
the same on every machine.

`benchmarks/near_duplicates.py` measures it against `rensa` and `datasketch`, which compute the same
signatures; docs/decisions/009-near-duplicates.md says why they are not used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tunesmith.records import Example

SHINGLE = 5  # characters
THRESHOLD = 0.8  # Jaccard similarity
BANDS, ROWS = 16, 4
DEPTH = 16  # candidates looked at in one bucket: its members are alike, more add little
COMMON = 0.25  # share of the prompts above which a shingle is boilerplate
COMMON_IN_FEW = 0.9  # the same among fewer than FEW prompts; among fewer than FEWEST nothing is
FEW, FEWEST = 20, 5
SAMPLE = 2048  # prompts from which boilerplate is told
SHORT, SHORT_THRESHOLD = 200, 0.5  # characters; similarity with boilerplate, in `clusters`
CHUNK = 512  # prompts whose shingles are in memory at once

Words = npt.NDArray[np.uint32]
_NUMBER = re.compile(r"\b\w*\d\w*\b")
_NOT_WORD = re.compile(r"[\W_]+")
_ASCII = {i: chr(i).lower() if chr(i).isalnum() else " " for i in range(128)}


@dataclass(frozen=True, slots=True)
class _Index:
    """Texts with their signatures: (texts, BANDS * ROWS); an empty text never matches."""

    codes: tuple[Words, ...]  # shingles of each text, sorted, each once
    signatures: Words
    filled: npt.NDArray[np.bool_]


def prompt_text(example: Example) -> str:
    """What of a prompt is compared: all messages but the system's, one after the other."""
    return "\n".join(m.content for m in example.messages if m.role != "system")


def normalised(text: str) -> str:
    """Lower case, and one blank for each run of anything but letters and digits."""
    if text.isascii():  # four times as fast, and most texts are
        return " ".join(text.translate(_ASCII).split())
    return _NOT_WORD.sub(" ", text.lower()).strip()


def near_duplicates(texts: Sequence[str], against: Sequence[str]) -> list[bool]:
    """For each of `texts`, whether some text of `against` is a near-duplicate (or equal)."""
    ours = [normalised(text) for text in texts]
    known = {normalised(text) for text in against} - {""}
    distinct = sorted(set(ours) - known - {""})
    near = known & set(ours)
    if known and distinct:
        theirs = sorted(known)
        boilerplate = _boilerplate([*distinct, *theirs])
        hits = _search(_index(distinct, boilerplate), _index(theirs, boilerplate))
        near |= {text for text, hit in zip(distinct, hits, strict=True) if hit}
    return [text in near for text in ours]


def clusters(texts: Sequence[str]) -> list[int]:
    """For each text the position of its cluster's leader: its own where nothing before is like it.

    In the order given, a text joins a leader at or above the threshold, or leads a cluster itself:
    so every member is a near-duplicate of its leader, and no chain of small steps links texts that
    are unlike. Texts that are equal once normalised belong together; empty ones stay alone. Short
    texts must hold the same numbers, too: of two questions that differ in one each is worth having.
    """
    plain = [normalised(text) for text in texts]
    first: dict[str, int] = {}
    for position, text in enumerate(plain):
        first.setdefault(text, position)
    first.pop("", None)
    distinct = list(first)
    leaders = _leaders(distinct, _index(distinct, _boilerplate(distinct)))
    place = list(first.values())
    leader_of = {t: place[lead] for t, lead in zip(distinct, leaders, strict=True)}
    return [leader_of.get(text, position) for position, text in enumerate(plain)]


def _leaders(texts: Sequence[str], index: _Index) -> list[int]:
    """The leader of each text: one of those before it that shares a band, compared exactly."""
    count = len(index.codes)
    bands = [_band_keys(index.signatures, band).tolist() for band in range(BANDS)]
    buckets: list[dict[int, list[int]]] = [{} for _ in range(BANDS)]
    leaders = list(range(count))
    filled = index.filled.tolist()
    for i in range(count):
        if not filled[i]:
            continue
        keys = [bands[band][i] for band in range(BANDS)]
        near: set[int] = set()
        for bucket, key in zip(buckets, keys, strict=True):
            near.update(bucket.get(key, ()))
        lead = _best(texts, index, i, near) if near else None
        if lead is not None:
            leaders[i] = lead
            continue
        for bucket, key in zip(buckets, keys, strict=True):
            bucket.setdefault(key, []).append(i)
    return leaders


def _best(texts: Sequence[str], index: _Index, i: int, near: set[int]) -> int | None:
    """The likest of some texts, where it is at or above the threshold; DEPTH are looked at."""
    pool = np.fromiter(sorted(near), dtype=np.intp, count=len(near))
    equal = np.count_nonzero(index.signatures[pool] == index.signatures[i], axis=1)
    for at in np.argsort(-equal, kind="stable")[:DEPTH].tolist():
        if equal[at] < 0.6 * BANDS * ROWS:  # as in _search
            return None
        other = int(pool[at])
        if _jaccard(index.codes[i], index.codes[other]) < THRESHOLD:
            continue
        if len(texts[i]) >= SHORT or _say_the_same(texts[i], texts[other]):
            return other
    return None


def _say_the_same(a: str, b: str) -> bool:
    """Whether short texts hold the same numbers, and are like also with their boilerplate.

    Without it little is left of a short text: of `tell me about csc 130` only the course.
    """
    if _NUMBER.findall(a) != _NUMBER.findall(b):
        return False
    mine, other = ({t[i : i + SHINGLE] for i in range(len(t) - SHINGLE + 1)} for t in (a, b))
    return len(mine & other) >= SHORT_THRESHOLD * len(mine | other)


def _search(ours: _Index, theirs: _Index) -> npt.NDArray[np.bool_]:
    """Whether each text of `ours` has a text in `theirs` at or above the threshold."""
    found = np.zeros(len(ours.codes), dtype=np.bool_)
    pool = np.flatnonzero(theirs.filled)
    tried: set[tuple[int, int]] = set()
    for band in range(BANDS):
        open_ = np.flatnonzero(ours.filled & ~found)
        if not len(open_) or not len(pool):
            break
        keys = _band_keys(theirs.signatures[pool], band)
        order = np.argsort(keys, kind="stable")
        keys, members = keys[order], pool[order]
        wanted = _band_keys(ours.signatures[open_], band)
        first = np.searchsorted(keys, wanted, "left")
        behind = np.searchsorted(keys, wanted, "right")
        for depth in range(DEPTH):
            rows = np.flatnonzero(first + depth < behind)
            if not len(rows):
                break
            mine, other = open_[rows], members[first[rows] + depth]
            # Estimated similarity; its standard error is 0.05 at 0.8, so 0.6 loses one in 10^4.
            alike = (ours.signatures[mine] == theirs.signatures[other]).mean(axis=1) >= 0.6
            for i, j in zip(mine[alike].tolist(), other[alike].tolist(), strict=True):
                if not found[i] and (i, j) not in tried:
                    tried.add((i, j))
                    found[i] = _jaccard(ours.codes[i], theirs.codes[j]) >= THRESHOLD
    return found


def _jaccard(a: Words, b: Words) -> float:
    """Of two sorted arrays without repeats; 0 where their sizes alone rule the threshold out."""
    if THRESHOLD * max(len(a), len(b)) > min(len(a), len(b)):
        return 0.0
    both = np.concatenate((a, b))
    both.sort()
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    return shared / (len(both) - shared)


def _band_keys(signatures: Words, band: int) -> npt.NDArray[np.uint64]:
    """One 64-bit key for each text's ROWS hashes of a band; a collision costs a comparison."""
    key = np.zeros(len(signatures), dtype=np.uint64)
    for column in range(band * ROWS, (band + 1) * ROWS):
        key = (key ^ signatures[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    return key


def _index(texts: Sequence[str], boilerplate: Words) -> _Index:
    multipliers, offsets = _hash_family(BANDS * ROWS)
    codes: list[Words] = []
    signatures = np.zeros((len(texts), BANDS * ROWS), dtype=np.uint32)
    for start in range(0, len(texts), CHUNK):
        flat, owners = _shingles(texts[start : start + CHUNK])
        kept = ~_among(flat, boilerplate)
        flat, owners = _each_once(flat[kept], owners[kept])
        filled, edges = np.unique(owners, return_index=True)
        chunk = [np.zeros(0, dtype=np.uint32)] * len(texts[start : start + CHUNK])
        for owner, part in zip(filled.tolist(), np.split(flat, edges[1:]), strict=False):
            chunk[owner] = part
        codes.extend(chunk)
        if not len(filled):
            continue
        for h, (a, b) in enumerate(zip(multipliers, offsets, strict=True)):
            hashed = flat * a  # modulo 2^32, as is the sum
            hashed += b
            signatures[start + filled, h] = np.minimum.reduceat(hashed, edges)
    return _Index(tuple(codes), signatures, np.array([len(c) > 0 for c in codes], dtype=np.bool_))


def _each_once(codes: Words, owners: npt.NDArray[np.intp]) -> tuple[Words, npt.NDArray[np.intp]]:
    """The codes of each owner sorted, without repeats; owners ascend."""
    keys = owners.astype(np.uint64) << np.uint64(32) | codes
    keys.sort()
    keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))] if len(keys) else keys
    return keys.astype(np.uint32), (keys >> np.uint64(32)).astype(np.intp)


def _among(codes: Words, few: Words) -> npt.NDArray[np.bool_]:
    """Whether each code is among a few: a table of its low 20 bits answers most at once."""
    low = np.uint32(2**20 - 1)
    table = np.zeros(2**20, dtype=np.bool_)
    table[few & low] = True
    hits: npt.NDArray[np.bool_] = table[codes & low]
    hits[hits] = np.isin(codes[hits], few)
    return hits


def _boilerplate(texts: Sequence[str]) -> Words:
    """Shingles that stand in too many of the texts, told from evenly spread ones of them."""
    if len(texts) < FEWEST:
        return np.zeros(0, dtype=np.uint32)
    sample = texts[:: max(1, len(texts) // SAMPLE)]
    seen = [np.unique(_shingles([text])[0]) for text in sample]
    codes, counts = np.unique(np.concatenate(seen), return_counts=True)
    share = COMMON if len(texts) >= FEW else COMMON_IN_FEW
    return codes[counts > share * len(sample)]


def _shingles(texts: Sequence[str]) -> tuple[Words, npt.NDArray[np.intp]]:
    """All 5-character shingles of the texts as mixed 32-bit codes, and whose each one is.

    A text shorter than a shingle is one shingle, padded with blanks.
    """
    padded = [text.ljust(SHINGLE) for text in texts]
    joined = "".join(padded).encode("utf-32-le", "replace")
    points = np.frombuffer(joined, dtype=np.uint32)
    code = np.zeros(len(points) - SHINGLE + 1, dtype=np.uint32)
    for k in range(SHINGLE):
        code = code * np.uint32(0x01000193) ^ points[k : k + len(code)]  # FNV-1 over code points
    code ^= code >> np.uint32(16)
    code *= np.uint32(0x85EBCA6B)  # finaliser of MurmurHash3
    code ^= code >> np.uint32(13)
    code *= np.uint32(0xC2B2AE35)
    code ^= code >> np.uint32(16)
    lengths = np.array([len(text) for text in padded])
    owners = np.repeat(np.arange(len(texts)), lengths)
    # A shingle must end in the text in which it begins.
    inside = owners[: len(code)] == owners[SHINGLE - 1 :]
    return code[inside], owners[: len(code)][inside]


def _hash_family(count: int) -> tuple[Words, Words]:
    """Odd multipliers and offsets for x -> a x + b modulo 2^32, from the splitmix64 sequence."""
    state, mask, numbers = 0x5DEECE66D, 2**64 - 1, []
    for _ in range(2 * count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        numbers.append((z ^ (z >> 31)) >> 32)
    words = np.array(numbers, dtype=np.uint32)
    return words[:count] | np.uint32(1), words[count:]
