"""Pieces of other files: the best that fit, whole lines, and the same ones while somebody types."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.prompt import PromptBuilder
from server.snippets import SnippetShelf, short_path
from tabwright.artifact import ModelArtifact
from tabwright.fim import FimFormat
from tabwright.request import CompletionRequest, SamplingParams, Snippet
from tests.fakes.tiny_artifact import make_tiny_artifact

CONTEXT = 512
FUNCTIONS = [
    Snippet(
        f"src/part_{n}.py",
        f"def total_{n}(items):\n    result = {n}\n    return result + len(items)\n",
        score=n / 10,
    )
    for n in range(8)
]
LONG = "".join(f"def part_{n}():\n    return {n}\n\n" for n in range(200))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    return make_tiny_artifact(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def shelf(artifact: ModelArtifact) -> SnippetShelf:
    return SnippetShelf(artifact.fim, artifact.tokenizer)


@pytest.fixture(scope="module")
def without_files(artifact: ModelArtifact) -> FimFormat:
    """A family that has no sentinel for files."""
    return replace(artifact.fim, family=replace(artifact.fim.family, file=None, repo=None))


def request(*snippets: Snippet, **fields: object) -> CompletionRequest:
    chosen = {"prefix": "import os\n", "suffix": "\n", "path": "src/main.py"} | fields
    return CompletionRequest(snippets=snippets, **chosen)  # type: ignore[arg-type]


def shown(artifact: ModelArtifact, ids: list[int]) -> str:
    """Text with the sentinels written out."""
    names = {token_id: name for name, token_id in artifact.fim.ids.items()}
    return "".join(names.get(i) or artifact.tokenizer.decode([i]) for i in ids)


def test_files_stand_behind_their_sentinels_in_the_order_of_paths(
    artifact: ModelArtifact, shelf: SnippetShelf
) -> None:
    others = shelf.lay_out(
        request(Snippet("b.py", "b = 1\n"), Snippet("file:///w/a%20b/a.py", "a = 1"), repo="shop"),
        200,
    )
    assert shown(artifact, others.header) == (
        "<repo_name>shop\n<file_sep>/w/a b/a.py\na = 1\n<file_sep>b.py\nb = 1\n"
    )
    assert others.prefix == []


def test_a_file_without_a_name_still_begins_with_the_sentinel(
    artifact: ModelArtifact, shelf: SnippetShelf
) -> None:
    others = shelf.lay_out(request(Snippet("", "a = 1\n"), path=None), 200)
    assert shown(artifact, others.header) == "<file_sep>snippet\na = 1\n<file_sep>"


@pytest.mark.parametrize(
    ("path", "language", "expected"),
    [
        ("main.py", None, "# lib.py\n# a = 1\n#\n#   b\n# main.py\n"),
        ("main.py", "rust", "// lib.py\n// a = 1\n//\n//   b\n// main.py\n"),
        ("a.css", None, "/* lib.py */\n/* a = 1 */\n/*  */\n/*   b */\n/* a.css */\n"),
        (None, "no such language", "# lib.py\n# a = 1\n#\n#   b\n"),
    ],
)
def test_families_without_files_get_comments_in_the_files_language(
    artifact: ModelArtifact,
    without_files: FimFormat,
    path: str | None,
    language: str | None,
    expected: str,
) -> None:
    shelf = SnippetShelf(without_files, artifact.tokenizer)
    asked = request(Snippet("lib.py", "a = 1\n\n  b\n"), path=path, language=language)
    others = shelf.lay_out(asked, 200)
    assert artifact.tokenizer.decode(others.prefix) == expected
    assert others.header == []


def test_the_most_relevant_are_kept_and_those_without_a_score_first(
    artifact: ModelArtifact, shelf: SnippetShelf
) -> None:
    declaration = Snippet("z.py", "def declared(): ...\n")
    text = shown(artifact, shelf.lay_out(request(*FUNCTIONS, declaration), 150).header)
    assert "declared" in text
    assert "total_7" in text
    assert "total_0" not in text


def test_what_stands_around_the_cursor_or_twice_is_left_out(
    artifact: ModelArtifact, shelf: SnippetShelf
) -> None:
    snippets = (
        Snippet("a.py", "import os\n"),
        Snippet("b.py", "\nafter = 1\n"),
        Snippet("c.py", "one = 1\ntwo = 2\n"),
        Snippet("d.py", "two = 2"),
        Snippet("e.py", " \n"),
    )
    asked = request(*snippets, suffix="\nafter = 1\nmore\n")
    assert shown(artifact, shelf.lay_out(asked, 200).header) == (
        "<file_sep>c.py\none = 1\ntwo = 2\n"
    )


@pytest.mark.parametrize("family", ["with files", "with comments"])
def test_long_pieces_end_with_a_block(
    artifact: ModelArtifact, without_files: FimFormat, family: str
) -> None:
    fim = artifact.fim if family == "with files" else without_files
    others = SnippetShelf(fim, artifact.tokenizer).lay_out(request(Snippet("a.py", LONG)), 200)
    ids = others.header or others.prefix
    assert 120 < len(ids) <= 200
    text = artifact.tokenizer.decode(ids).removesuffix("# src/main.py\n")
    assert "def part_0" in text
    assert text.endswith("\n")
    assert "    return" in text.splitlines()[-1], "not in the middle of a function"


def test_a_piece_of_which_no_line_fits_is_left_out(shelf: SnippetShelf) -> None:
    assert shelf.lay_out(request(Snippet("a.py", "x" * 10_000)), 100).header == []


texts = st.text(alphabet=st.sampled_from("ab (\n\t🙂é<"), max_size=60).map(lambda t: t * 30)
snippets = st.builds(
    Snippet,
    path=st.sampled_from(["", "a.py", "src/b.go", "x" * 500]),
    text=texts,
    score=st.none() | st.floats(-5, 5),
)


@given(texts, st.none() | texts, st.lists(snippets, max_size=8), st.integers(1, 600))
def test_prompt_answer_and_snippets_always_fit(
    artifact: ModelArtifact,
    prefix: str,
    suffix: str | None,
    pieces: list[Snippet],
    max_tokens: int,
) -> None:
    builder = PromptBuilder(artifact, CONTEXT, 0.5)
    asked = CompletionRequest(
        prefix[-100:] if suffix is None else prefix,
        suffix,
        path="src/a.py",
        repo="owner/shop",
        snippets=tuple(pieces),
        sampling=SamplingParams(max_tokens=max_tokens),
    )
    built = builder.build(asked)
    assert len(built.ids) + built.sampling.max_tokens <= CONTEXT
    if suffix is not None and max_tokens <= CONTEXT // 2:
        assert built.sampling.max_tokens == max_tokens


@given(st.integers(0, 2000), st.lists(snippets, max_size=8))
def test_snippets_keep_to_their_share(
    shelf: SnippetShelf, allowed: int, pieces: list[Snippet]
) -> None:
    others = shelf.lay_out(request(*pieces, repo="owner/shop"), allowed)
    assert len(others.header) + len(others.prefix) <= allowed


def test_sentinels_in_a_snippet_stay_text(artifact: ModelArtifact, shelf: SnippetShelf) -> None:
    ids = shelf.lay_out(request(Snippet("<fim_middle>.py", "<file_sep><|endoftext|>\n")), 200)
    assert ids.header.count(artifact.fim.ids["<file_sep>"]) == 1
    assert artifact.fim.ids["<fim_middle>"] not in ids.header
    assert "<file_sep><|endoftext|>\n" in artifact.tokenizer.decode(ids.header)


def test_a_plain_prompt_has_snippets_only_where_it_leaves_room(artifact: ModelArtifact) -> None:
    builder = PromptBuilder(artifact, CONTEXT)
    asked = CompletionRequest("x = 1\n", path="a.py", snippets=tuple(FUNCTIONS))
    text = shown(artifact, list(builder.build(asked).ids))
    assert text.endswith("<file_sep>a.py\nx = 1\n")
    assert "total_7" in text
    full = replace(asked, prefix="x = 1\n" * 100)
    assert "total" not in shown(artifact, list(builder.build(full).ids))
    # Where not even the path fits, the text still does.
    exact = len(artifact.tokenizer.encode("x\n" * 200)) + 1
    brim = replace(asked, prefix="x\n" * 200)
    assert shown(artifact, list(PromptBuilder(artifact, exact).build(brim).ids)) == brim.prefix


def test_typing_keeps_the_snippets_and_the_cached_part_of_the_prompt(
    artifact: ModelArtifact,
) -> None:
    """Scores and order differ with every keystroke, as from an editor that ranks anew."""
    builder = PromptBuilder(artifact, CONTEXT)
    chance = random.Random(0)
    # The editor knows few pieces, so that those it ranks anew are the ones it sent before.
    known = FUNCTIONS[:2]
    older: tuple[int, ...] = ()
    kept = total = 0
    for typed in range(200):
        pieces = [replace(piece, score=chance.random()) for piece in known]
        chance.shuffle(pieces)
        asked = request(*pieces, prefix=LONG[: 3000 + typed], suffix=LONG[3300:])
        ids = builder.build(asked).ids
        if older:
            same = next(
                (i for i, (a, b) in enumerate(zip(older, ids, strict=False)) if a != b),
                min(len(older), len(ids)),
            )
            kept, total = kept + same, total + len(ids)
        older = ids
    assert kept / total > 0.95


@pytest.mark.parametrize(
    ("path", "shown_path"),
    [
        (None, None),
        ("", None),
        ("a.py", "a.py"),
        ("file:///home/somebody/code/project/src/a.py", "code/project/src/a.py"),
        ("file:///w/my%20project/a.py", "/w/my project/a.py"),
        ("C:\\code\\a.py", "C:/code/a.py"),
        ("two\nlines.py", "two lines.py"),
    ],
)
def test_paths_are_shortened(path: str | None, shown_path: str | None) -> None:
    assert short_path(path) == shown_path
