"""The first step: read a part of a source, tag every document, keep all of them.

A tagger is prepared once in each process (word lists, parsers, the benchmarks' n-grams) and then
called for every document. Read `tag_part` first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import import_module

import pyarrow as pa
import pyarrow.parquet as pq

from tabwright.languages import OTHER_LANGUAGE, languages
from training.data.config import DataConfig
from training.data.document import SCHEMA, Document, Tag, key
from training.data.licences import header_licence
from training.data.reading import read_text
from training.data.run import Run, whole
from training.data.sources import Raw, read_part
from training.data.taggers import TAGGERS

STEP = "documents"
Tagger = Callable[[Document], Iterable[Tag]]
_ROWS_PER_GROUP = 512
# What has one of these tags has no text that a tagger could look at.
_UNREAD = frozenset({"unreadable", "binary", "large"})


def tag_part(run: Run, part: int) -> None:
    """Write the documents of a part, with their tags, to its file."""
    taggers = prepare(run.config.model_dump_json())
    target = run.part(STEP, part)
    with whole(target) as partial, pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
        rows: list[dict[str, object]] = []
        for number, raw in enumerate(read_part(run.config, run.parts[part])):
            rows.append(_row(run, part, number, raw, taggers))
            if len(rows) >= _ROWS_PER_GROUP:
                writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, SCHEMA))


@cache
def prepare(config_json: str) -> tuple[Tagger, ...]:
    """Load the taggers for a configuration, once a process."""
    config = DataConfig.model_validate_json(config_json)
    made = []
    for place in TAGGERS.values():
        module, attribute = place.split(":")
        made.append(getattr(import_module(module), attribute)(config))
    return tuple(made)


def _row(
    run: Run, part: int, number: int, raw: Raw, taggers: tuple[Tagger, ...]
) -> dict[str, object]:
    document, tags = _document(run, part, raw)
    if raw.content is not None and not _UNREAD.intersection(tag.name for tag in tags):
        for tagger in taggers:
            tags.extend(tagger(document))
    return {
        "key": key(part, number),
        "id": document.id,
        "source": document.source,
        "repo": document.repo,
        "path": document.path,
        "commit": document.commit,
        "licence": header_licence(document.text) or document.licence,
        "language": document.language,
        "held_out": document.held_out,
        "bytes": len(raw.content or b""),
        "text": document.text,
        "tags": [tag.name for tag in tags],
        "evidence": [tag.evidence for tag in tags],
    }


def _document(run: Run, part: int, raw: Raw) -> tuple[Document, list[Tag]]:
    text, tags = "", []
    if raw.content is None:
        tags.append(Tag("large" if raw.problem.endswith("bytes") else "unreadable", raw.problem))
    elif len(raw.content) > run.config.read.max_bytes:
        tags.append(Tag("large", f"{len(raw.content)} bytes"))
    else:
        text, found = read_text(raw.content)
        tags.extend(found)
    found_language = languages().detect(raw.path, text.split("\n", 1)[0])
    language = found_language.name if found_language else OTHER_LANGUAGE
    if language not in (run.config.filters.languages or {row.name for row in languages()}):
        tags.append(Tag("language", language))
    source = run.parts[part].source
    document = Document(
        text, raw.path, raw.repo, source, raw.licence, language, raw.held_out, raw.commit
    )
    return document, tags


def documents(run: Run, part: int, columns: list[str] | None = None) -> Iterator[dict[str, object]]:
    """Read a part's documents back, row group by row group."""
    with pq.ParquetFile(run.part(STEP, part)) as file:
        for group in range(file.num_row_groups):
            yield from file.read_row_group(group, columns=columns).to_pylist()
