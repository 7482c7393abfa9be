"""Licences: what is read out of a name, and which may stand together."""

from __future__ import annotations

import itertools

import pytest

from data.quality.examples import example
from tunesmith.data.quality import licences, spdx


def read(expression: str) -> list[str]:
    """The alternatives of an expression; a name that nobody knows with a question mark."""
    return [
        " & ".join([*map(str, terms.licences), *(f"{name}?" for name in terms.unknown)])
        for terms in spdx.alternatives(expression)
    ]


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("CC BY-SA 4.0", ["CC-BY-SA-4.0"]),
        ("https://creativecommons.org/licenses/by-sa/4.0/", ["CC-BY-SA-4.0"]),
        ("http://creativecommons.org/licenses/by-nc/3.0/de/", ["CC-BY-NC-3.0"]),
        ("https://creativecommons.org/publicdomain/zero/1.0/", ["CC0-1.0"]),
        ("cc-by-nc-4.0", ["CC-BY-NC-4.0"]),
        ("CC-BY-NC-SA-3.0", ["CC-BY-NC-SA-3.0"]),
        ("CC-BY-SA-3.0-DE", ["CC-BY-SA-3.0"]),
        ("Creative Commons Attribution-ShareAlike 4.0 International", ["CC-BY-SA-4.0"]),
        ("MIT", ["MIT"]),
        ("The MIT License", ["MIT"]),
        ("The MIT License (MIT)", ["MIT"]),
        ("Apache-2.0", ["Apache-2.0"]),
        ("Apache License, Version 2.0", ["Apache-2.0"]),
        ("BSD-3-Clause", ["BSD-3-Clause"]),
        ("GPL-3.0-or-later", ["GPL-3.0-or-later"]),
        ("GPL version 2 or any later version", ["GPL-2.0-or-later"]),
        ("GPL-2.0+", ["GPL-2.0-or-later"]),
        ("GNU General Public License v3.0", ["GPL-3.0"]),
        ("CC0-1.0", ["CC0-1.0"]),
        ("EPL-2.0", ["EPL-2.0"]),
        ("MIT and EPL-2.0", ["MIT & EPL-2.0"]),
        ("Apache-2.0 AND CC-BY-NC-4.0", ["Apache-2.0 & CC-BY-NC-4.0"]),
        ("GPL-3.0-only OR MIT", ["MIT", "GPL-3.0-only"]),
        ("(MIT OR GPL-2.0-only) AND EPL-2.0", ["MIT & EPL-2.0", "GPL-2.0-only & EPL-2.0"]),
        ("GPL-2.0-only WITH Classpath-exception-2.0", ["GPL-2.0-only"]),
        ("Apache 2.0 with commons clause", ["Apache 2.0 WITH commons clause?"]),
        ("CC-BY-3.0 AND proprietary", ["CC-BY-3.0 & proprietary?"]),
        ("proprietary OR MIT", ["MIT", "proprietary?"]),
        (
            "Apache License 2.0 (non-commercial use only)",
            ["Apache License 2.0 (non-commercial use only)?"],
        ),
        ("MIT OR", ["MIT OR?"]),
        ("my own", ["my own?"]),
    ],
)
def test_names_of_licences(written: str, names: list[str]) -> None:
    assert read(written) == names


def told(*expressions: str) -> str | None:
    """The message about a mix of rows with these licences; None where they may be mixed."""
    rows = [example("q", meta={"licence": it, "source": "s"}) for it in expressions]
    flags, _ = licences.licences(rows)
    return next((f.message for f in flags if f.code == "incompatible_licences"), None)


# https://www.gnu.org/licenses/gpl-faq.html#AllCompatibility, /licenses/license-list.html,
# https://creativecommons.org/compatiblelicenses
@pytest.mark.parametrize(
    "mix",
    [
        ("CC-BY-SA-4.0", "CC-BY-NC-4.0"),
        ("CC-BY-SA-4.0", "GFDL-1.3-only"),
        ("CC-BY-ND-4.0",),
        ("GPL-2.0-only", "GPL-3.0-only"),
        ("GPL-2.0-only", "GPL-3.0-or-later"),
        ("GPL-2.0-only", "AGPL-3.0-only"),
        ("GPL-2.0-only", "Apache-2.0"),
        ("GPL-2.0-only", "LGPL-3.0-only"),
        ("GPL-3.0-only", "EPL-2.0"),
        ("GPL-3.0-only", "CDDL-1.0"),
        ("GPL-3.0-only", "BSD-4-Clause"),
        ("GPL-3.0-only", "CC-BY-SA-2.5"),
        ("GPL-3.0-only", "CC-BY-SA-3.0"),
        ("GPL-2.0-only", "CC-BY-SA-4.0"),
        ("GPL-3.0-only", "CC-BY-SA-4.0 AND CC-BY-SA-2.5"),
        ("CC-BY-SA-1.0", "CC-BY-SA-2.0"),
        ("CC-BY-SA-4.0", "Apache-2.0 AND CC-BY-NC-4.0"),
        ("CC-BY-4.0 AND CC-BY-ND-4.0",),
        ("CC-BY-SA-4.0", "CC-BY-NC-4.0 OR GFDL-1.3-only"),
        ("CC-BY-SA-4.0", "CC-BY-NC-4.0 AND proprietary"),
    ],
)
def test_licences_that_exclude_each_other(mix: tuple[str, ...]) -> None:
    assert told(*mix)
    assert told(*mix[::-1])


@pytest.mark.parametrize(
    "mix",
    [
        ("MIT", "CC-BY-SA-4.0", "Apache-2.0", "CC-BY-3.0"),
        ("CC-BY-SA-2.5", "CC-BY-SA-4.0", "CC-BY-SA-3.0"),
        ("CC-BY-SA-4.0", "GPL-3.0-only"),
        ("CC-BY-SA-4.0", "GPL-2.0-or-later"),
        ("GPL-2.0-or-later", "GPL-3.0-only", "AGPL-3.0-only", "Apache-2.0"),
        ("GPL-2.0-only", "LGPL-2.1-only", "MPL-2.0", "BSD-3-Clause"),
        ("MIT and EPL-2.0", "The MIT License (MIT)"),
        ("CC-BY-SA-4.0", "CC-BY-NC-4.0 OR MIT"),
        ("CC-BY-NC-SA-4.0", "CC-BY-NC-4.0"),
    ],
)
def test_licences_that_may_stand_together(mix: tuple[str, ...]) -> None:
    assert told(*mix) is None
    assert told(*mix[::-1]) is None


def test_a_conflict_has_no_direction() -> None:
    known = [spdx.Licence(n, v) for n in spdx.KINDS for v in (None, (1, 0), (2, 0), (4, 0))]
    for a, b in itertools.product(known, repeat=2):
        assert (licences.conflict(a, b) is None) == (licences.conflict(b, a) is None)


def test_a_choice_is_made_once_for_the_whole_mix() -> None:
    """Each pair alone has a way out, and the mix has none."""
    assert told("Apache-2.0", "GPL-2.0-only OR CC-BY-SA-3.0") is None
    assert told("GPL-3.0-only", "GPL-2.0-only OR CC-BY-SA-3.0")
    either = "GPL-2.0-only OR CC-BY-NC-4.0"
    assert told("Apache-2.0", either) is None
    assert told("CC-BY-SA-4.0", "Apache-2.0", either)


def test_an_unknown_member_is_told_and_the_others_still_count() -> None:
    rows = [example("q", meta={"licence": "CC-BY-NC-4.0 AND proprietary"})]
    (flag,), _ = licences.licences(rows)
    assert flag.code == "unknown_licences"
