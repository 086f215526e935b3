"""Is everybody's data replaced, only that, and does the code stay code?"""

from __future__ import annotations

import ast
import ipaddress
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.training.private_values import negatives, positives
from training.data.privacy.anonymise import anonymise, findings
from training.data.privacy.hints import lowered

_AROUND = "first = 1\n{}\nlast = 2\n"


def _within(line: str) -> str:
    return anonymise(_AROUND.format(line), "repo", 0).text


def test_every_labelled_value_is_replaced() -> None:
    labelled = positives()
    assert len(labelled) >= 300
    missed = Counter(x.kind for x in labelled if x.value in _within(x.line))
    assert sum(missed.values()) <= len(labelled) // 100, missed


def test_hard_negatives_stay_as_they_are() -> None:
    labelled = negatives()
    assert len(labelled) >= 300
    changed = [x.line for x in labelled if _within(x.line) != _AROUND.format(x.line)]
    assert len(changed) <= len(labelled) // 100, changed


def test_what_was_replaced_is_not_found_again_as_anything_else() -> None:
    for item in positives(4):
        once = anonymise(item.line, "repo", 0)
        assert once.kinds, item.kind
        again = anonymise(once.text, "repo", 0)
        assert set(again.kinds) <= set(once.kinds)


def test_a_value_has_one_stand_in_in_a_repository_and_another_elsewhere() -> None:
    item = next(x for x in positives() if x.kind == "github")
    text = f"A = '{item.value}'\nB = '{item.value}'\n"
    here = anonymise(text, "here", 0).text
    first, second = (line.split(" = ")[1] for line in here.splitlines())
    assert first == second
    assert here == anonymise(text, "here", 0).text
    assert here != anonymise(text, "there", 0).text
    assert here != anonymise(text, "here", 1).text


def test_stand_ins_are_of_their_kind() -> None:
    made = {}
    for item in positives(1):
        made[item.kind] = anonymise(item.line, "repo", 0).text
    assert made["email"].count("@example.com") == 1
    assert made["github"].count("EXAMPLE") == 1
    assert "KEY-----\n" in made["private_key"]
    host = made["ipv4"].split('"')[1]
    assert any(
        ipaddress.ip_address(host) in ipaddress.ip_network(net)
        for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
    )
    assert ipaddress.ip_address(made["ipv6"].split('"')[1]) in ipaddress.ip_network("2001:db8::/32")


def test_the_year_of_a_copyright_line_stays_and_companies_stay() -> None:
    person = "# Copyright (c) 2019-2023 Greta Fischer <g.fischer@web.dev>, Hugo Costa\n"
    found = anonymise(person, "repo", 0)
    assert found.kinds == ("name", "email", "name")
    assert "2019-2023" in found.text
    company = "# Copyright 2020 The Amber Authors. All rights reserved.\n"
    assert anonymise(company, "repo", 0).text == company


def test_code_stays_valid() -> None:
    for item in positives(6):
        try:
            ast.parse(item.line)
        except SyntaxError:
            continue
        ast.parse(anonymise(item.line, "repo", 0).text)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300))
def test_text_without_findings_is_untouched_and_findings_never_overlap(text: str) -> None:
    found = findings(text)
    assert all(a.end <= b.start for a, b in pairwise(found))
    if not found:
        assert anonymise(text, "repo", 0) == (text, ())


@pytest.mark.parametrize("text", ["İstanbul KEY", "ß", "plain", "ǅ"])
def test_lowering_keeps_every_character_in_its_place(text: str) -> None:
    assert len(lowered(text)) == len(text)


def test_hostile_lines_take_linear_time() -> None:
    for piece in ("a@", "1.", "token=", "2001:", "aws ", "Copyright 2020 ", "xox", "://a:"):
        anonymise(piece * 20_000, "repo", 0)
