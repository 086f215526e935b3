"""Are rows of tables read as what they are: code, code that lies elsewhere, questions, posts?"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from html import escape
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tabwright.errors import ConfigError
from training.data.config import DataConfig
from training.data.posts import as_text
from training.data.sources import Raw, list_parts, read_part

_BODY = "<p>How do I <b>add</b> &amp; sort?</p>\n<pre><code>x = 1\n  y &lt; 2\n</code></pre>"


@pytest.fixture
def bucket() -> Iterator[str]:
    """A store that is no disk; what fsspec does with it, it does with S3."""
    filesystem = fsspec.filesystem("memory")
    yield "memory://bucket"
    filesystem.rm("/bucket", recursive=True)


def _rows(files: str, **more: object) -> list[Raw]:
    source = {"kind": "table", "name": "rows", "files": files, **more}
    config = DataConfig.model_validate({"source": [source]})
    return [raw for part in list_parts(config) for raw in read_part(config, part)]


def _text(raw: Raw) -> str:
    assert raw.content is not None, raw.problem
    return raw.content.decode()


def _parquet(place: str, rows: list[dict[str, object]]) -> None:
    with fsspec.open(place, "wb") as file:
        pq.write_table(pa.Table.from_pylist(rows), file)


def test_the_layout_of_the_stack_v1_on_a_store_that_is_no_disk(bucket: str) -> None:
    row: dict[str, object] = {"content": "x = 1\n", "max_stars_repo_path": "a/b.py"}
    row |= {
        "lang": "Python",
        "max_stars_repo_name": "some/one",
        "max_stars_repo_licenses": ["MIT", "Apache-2.0"],
    }
    for number in range(2):
        _parquet(f"{bucket}/v1/part-{number}.parquet", [row])
    first, second = _rows(f"{bucket}/v1/*.parquet")
    assert first == second
    assert (first.path, first.repo, first.language) == ("a/b.py", "some/one", "Python")
    assert (_text(first), first.licence) == ("x = 1\n", "MIT OR Apache-2.0")


def test_the_layout_of_the_stack_v2_has_its_texts_fetched(bucket: str) -> None:
    rows: list[dict[str, object]] = [
        {"blob_id": name, "path": f"/{name}.go", "repo_name": "some/one", "language": "Go",
         "detected_licenses": ["MIT"], "src_encoding": "UTF-8"}
        for name in ("here", "gone", "damaged")
    ]  # fmt: skip
    _parquet(f"{bucket}/v2.parquet", rows)
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe("/bucket/content/here", gzip.compress(b"package a\n"))
    filesystem.pipe("/bucket/content/damaged", gzip.compress(b"package a\n")[:-9])
    here, gone, damaged = _rows(f"{bucket}/v2.parquet", blobs=f"{bucket}/content/{{blob_id}}")
    assert (_text(here), here.path, here.licence) == ("package a\n", "/here.go", "MIT")
    assert gone.content is None
    assert "gone" in gone.problem
    assert damaged.content is None


@pytest.mark.parametrize(("blobs", "named"), [("", "blobs ="), ("memory://x/{sha}", "sha")])
def test_a_table_without_texts_says_what_is_missing(bucket: str, blobs: str, named: str) -> None:
    _parquet(f"{bucket}/v2.parquet", [{"blob_id": "a", "path": "b.go"}])
    with pytest.raises(ConfigError, match=named):
        _rows(f"{bucket}/v2.parquet", blobs=blobs)


def test_a_dump_of_posts_has_a_document_a_post(tmp_path: Path) -> None:
    body = escape(_BODY).replace("\n", "&#xA;")
    common = f'Body="{body}" ContentLicense="CC BY-SA 4.0"'
    lines = [
        '\ufeff<?xml version="1.0" encoding="utf-8"?>',
        "<posts>",
        f'  <row Id="4" PostTypeId="1" Title="Adding &amp; sorting" {common} />',
        f'  <row Id="9" PostTypeId="2" ParentId="4" {common} />',
        '  <row Id="10" PostTypeId="5" Body="a wiki of a tag" />',
        '  <row Id="11" PostTypeId="1" Body="not closed',
        "</posts>",
    ]
    (tmp_path / "Posts.xml").write_text("\n".join(lines), encoding="utf-8")
    question, answer, broken = _rows(str(tmp_path / "Posts.xml"))
    assert question.path == "4.md"
    assert answer.path == "4/answers/9.md"
    assert question.licence == "CC-BY-SA-4.0"
    assert _text(question) == (
        "# Adding & sorting\n\nHow do I add & sort?\n\n    x = 1\n      y < 2\n"
    )
    assert (broken.content, broken.problem) == (None, "no post")


def test_a_row_with_its_answers_is_one_document_the_best_first(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"qid": 1, "question": _BODY,
         "answers": [{"text": "worse", "pm_score": 1}, {"text": "better", "pm_score": 4},
                     {"text": "chosen", "pm_score": 0, "selected": True}]},
        {"qid": 2, "question": "plain, i < n", "answers": []},
    ]  # fmt: skip
    file = tmp_path / "qa.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = map(_text, _rows(str(file)))
    assert first.endswith("\n\n---\n\nchosen\n\n---\n\nbetter\n\n---\n\nworse\n")
    assert second == "plain, i < n\n"


def test_text_that_only_looks_like_markup_stays() -> None:
    assert as_text("if a < b and c > d:") == "if a < b and c > d:\n"


def test_a_hub_out_of_reach_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config = DataConfig.model_validate(
        {"source": [{"kind": "hub", "name": "far", "dataset": "some/thing"}]}
    )
    with pytest.raises(ConfigError, match="some/thing@main cannot be read from the hub"):
        list_parts(config)
