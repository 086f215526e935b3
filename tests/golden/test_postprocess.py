"""What is shown of an answer, by language. To add a case, add it to a file of `postprocess/`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from server.caller import Eagerness, Lines, Wishes
from server.chain import Chain
from tabwright.request import CompletionRequest

FOLDER = Path(__file__).with_name("postprocess")
FILES = {
    path.stem: tomllib.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.toml"))
}
CASES = [
    pytest.param(name, table, case, id=f"{name}: {case['name']}")
    for name, table in FILES.items()
    for case in table["case"]
]
USED = {
    *("python", "javascript", "typescript", "java", "go", "rust", "c", "cpp", "csharp", "ruby"),
    *("php", "shell", "sql", "html", "yaml"),
}


def shown(request: CompletionRequest, wishes: Wishes, case: dict[str, Any], size: int) -> str:
    """The answer, with the model's text in pieces of so many characters."""
    chain, raw, text = Chain(request, wishes), case["raw"], ""
    for place in range(0, len(raw), size):
        new, stopped = chain.push(raw[place : place + size], ())
        text += new
        if stopped:
            return text
    return text + chain.flush(case.get("whole", True))


@pytest.mark.parametrize(("name", "table", "case"), CASES)
def test_what_is_shown(name: str, table: dict[str, Any], case: dict[str, Any]) -> None:
    prefix, _, suffix = case["text"].partition("█")
    wishes = Wishes(Eagerness(lines=Lines(case.get("lines", "auto"))), "v1")
    told = case.get("path", table.get("path"))
    requests = [CompletionRequest(prefix, suffix, path=told or None)]
    if told:
        requests.append(CompletionRequest(prefix, suffix, language=name))
    for request in requests:
        for size in (1, 4, len(case["raw"])):
            assert shown(request, wishes, case, size) == case["shown"]


def test_the_most_used_languages_have_cases() -> None:
    assert set(FILES) >= USED
    assert all(len(table["case"]) >= 2 for table in FILES.values())
