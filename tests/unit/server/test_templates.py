"""Prompts as real clients lay them out are taken apart again; every other text stays text."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.templates import Parts, parse_prompt, understood
from tabwright.artifact import ModelArtifact
from tabwright.fim import FAMILIES, PREFIX, SUFFIX
from tabwright.request import CompletionRequest, Snippet
from tests.fakes.tiny_artifact import make_tiny_artifact

Template = Callable[[str, str], str]

# What each client writes, by the name it gives the template.
HOLES: dict[str, Template] = {
    "continue, zed, twinny, llm-ls: starcoder": lambda p, s: (
        f"<fim_prefix>{p}<fim_suffix>{s}<fim_middle>"
    ),
    "refact: starcoder in SPM": lambda p, s: f"<fim_suffix>{s}<fim_prefix>{p}<fim_middle>",
    "refact: end of text first": lambda p, s: (
        f"<|endoftext|><fim_prefix>{p}<fim_suffix>{s}<fim_middle>"
    ),
    "starcoder in SPM": lambda p, s: f"<fim_prefix><fim_suffix>{s}<fim_middle>{p}",
    "llm-ls: santacoder": lambda p, s: f"<fim-prefix>{p}<fim-suffix>{s}<fim-middle>",
    "continue, zed: qwen, granite 4, codegemma": lambda p, s: (
        f"<|fim_prefix|>{p}<|fim_suffix|>{s}<|fim_middle|>"
    ),
    "a template in a YAML block": lambda p, s: (
        f"<|fim_prefix|>{p}<|fim_suffix|>{s}<|fim_middle|>\n"
    ),
    "continue, zed, twinny: deepseek": lambda p, s: (
        f"<｜fim▁begin｜>{p}<｜fim▁hole｜>{s}<｜fim▁end｜>"
    ),
    "continue, zed: codellama": lambda p, s: f"<PRE> {p} <SUF>{s} <MID>",
    "codellama in SPM": lambda p, s: f"<PRE> <SUF>{s} <MID> {p}",
    "continue, zed: codestral": lambda p, s: f"[SUFFIX]{s}[PREFIX]{p}",
    "codestral with its beginning of text": lambda p, s: f"<s>[SUFFIX]{s}[PREFIX]{p}",
    "continue: seed coder": lambda p, s: f"<[fim-prefix]>{p}<[fim-suffix]>{s}<[fim-middle]>",
    "zed: glm": lambda p, s: f"<|code_prefix|>{p}<|code_suffix|>{s}<|code_middle|>",
    "continue: codegeex": lambda p, s: (
        "<|user|>\n###PATH:[object Object]\n###LANGUAGE:Python\n###MODE:BLOCK\n"
        f"<|code_suffix|>{s}<|code_prefix|>{p}<|code_middle|><|assistant|>\n"
    ),
}
OTHERS = (Snippet("lib/a.py", "x = 1\n\ny = 2\n"), Snippet("b.go", "package b\n"))


def files(separator: str, *pieces: Snippet) -> str:
    return "".join(f"{separator}{piece.path}\n{piece.text}" for piece in pieces)


FILES: dict[str, str] = {
    "continue: qwen with snippets": (
        "<|repo_name|>shop\n<|file_sep|>lib/a.py\nx = 1\n\ny = 2\n\n<|file_sep|>b.go\npackage b\n"
        "\n<|file_sep|>src/main.py\n<|fim_prefix|>def f(<|fim_suffix|>):\n<|fim_middle|>"
    ),
    "refact: starcoder": (
        "<repo_name>shop\n" + files("<file_sep>", *OTHERS) + "<file_sep>src/main.py\n"
        "<fim_prefix>def f(<fim_suffix>):\n<fim_middle>"
    ),
    "refact: qwen in SPM": (
        "<|repo_name|>shop\n" + files("<|file_sep|>", *OTHERS) + "<|file_sep|>src/main.py\n"
        "<|fim_suffix|>):\n<|fim_prefix|>def f(<|fim_middle|>"
    ),
    "twinny: starcoder": (
        "<repo_name>shop\n" + files("<file_sep>", *OTHERS) + "<file_sep>src/main.py\n"
        "<fim_prefix>def f(<fim_suffix>):\n<fim_middle>"
    ),
    "the name of the repository up to the next tag": (
        "<repo_name>shop" + files("<file_sep>", *OTHERS) + "<file_sep>src/main.py\n"
        "<fim_prefix>def f(<fim_suffix>):\n<fim_middle>"
    ),
    "twinny: codegemma": (
        files("<|file_separator|>", *OTHERS) + "<|file_separator|>src/main.py\n"
        "<|fim_prefix|>def f(<|fim_suffix|>):\n<|fim_middle|>"
    ),
    "continue: codestral with snippets": (
        "[SUFFIX]):\n[PREFIX]+++++ lib/a.py \nx = 1\n\ny = 2\n\n\n+++++ b.go \npackage b\n\n\n"
        "+++++ src/main.py\ndef f("
    ),
    "continue: starcoder with snippets": (
        "<fim_prefix># Path: lib/a.py\n# x = 1\n# \n# y = 2\n# Path: b.go\n# package b\n"
        "# src/main.py\ndef f(<fim_suffix>):\n<fim_middle>"
    ),
    "continue: codegeex with snippets": (
        "<|user|>\n###REFERENCE:\n###PATH:lib/a.py\nx = 1\n\ny = 2\n\n###REFERENCE:\n###PATH:b.go\n"
        "package b\n\n\n###PATH:src/main.py\n###LANGUAGE:Python\n###MODE:BLOCK\n"
        "<|code_suffix|>):\n<|code_prefix|>def f(<|code_middle|><|assistant|>\n"
    ),
}

TAGS = (
    *{tag for family in FAMILIES.values() for tag in family.sentinels},
    *(" <SUF>", " <MID>", "<PRE> ", "<fim-prefix>", "<|code_suffix|>", "<|assistant|>\n"),
    *("+++++ a.py\n", "\n\n+++++ ", "Context:\n\n", "###PATH:", "<|user|>\n", "\n###MODE:BLOCK\n"),
    *("a.py\n", "\n", " ", "x = f(", "é🙂"),
)
plain_texts = st.text(st.characters(exclude_characters="<[+", codec="utf-8"), max_size=80)
tagged_texts = st.lists(st.sampled_from(TAGS), max_size=14).map("".join)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    return make_tiny_artifact(tmp_path_factory.mktemp("models") / "tiny")


@pytest.mark.parametrize("client", HOLES)
@given(prefix=plain_texts, suffix=plain_texts)
@example(prefix="", suffix="")
@example(prefix="", suffix="\n")
@example(prefix=" x", suffix=" y ")
@example(prefix="def f(\r\n", suffix="\r\n)")
def test_a_hole_comes_back_as_it_was_laid_out(client: str, prefix: str, suffix: str) -> None:
    parts = parse_prompt(HOLES[client](prefix, suffix))
    assert parts is not None
    assert (parts.prefix, parts.suffix) == (prefix, suffix)
    assert (parts.path, parts.repo, parts.snippets) == (None, None, ())


@pytest.mark.parametrize("family", FAMILIES)
@given(prefix=plain_texts, suffix=plain_texts)
def test_every_family_we_can_serve_is_understood_in_all_its_orders(
    family: str, prefix: str, suffix: str
) -> None:
    texts = {PREFIX: prefix, SUFFIX: suffix}
    for row in FAMILIES[family].layouts.values():
        laid_out = "".join(
            texts.get(part, part.replace("▁<", " <" if number > 1 else "<"))
            for number, part in enumerate(row)
        )
        laid_out = laid_out.replace("<s> <PRE>", "<s><PRE>").replace("<PRE><SUF>", "<PRE> <SUF>")
        parts = parse_prompt(laid_out)
        assert parts is not None, laid_out
        kept = prefix.removeprefix(" ") if family == "codellama" else prefix
        assert (parts.prefix, parts.suffix) == (kept, suffix)


@pytest.mark.parametrize("client", FILES)
def test_files_before_the_hole_become_snippets(client: str) -> None:
    parts = parse_prompt(FILES[client])
    assert parts is not None
    assert (parts.prefix, parts.suffix, parts.path) == ("def f(", "):\n", "src/main.py")
    assert parts.repo == ("shop" if "shop" in FILES[client] else None)
    assert parts.language == ("Python" if "codegeex" in client else None)
    assert [(s.path, s.text.strip()) for s in parts.snippets] == [
        (s.path, s.text.strip()) for s in OTHERS
    ]


def test_files_without_a_hole_are_continued_where_the_last_one_ends() -> None:
    prompt = "<repo_name>shop\n" + files("<file_sep>", *OTHERS, Snippet("src/main.py", "def f("))
    assert parse_prompt(prompt) == Parts(
        "def f(", None, "src/main.py", repo="shop", snippets=OTHERS
    )


def test_what_an_editor_puts_before_a_template_is_a_snippet() -> None:
    hole = "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>"
    parts = parse_prompt(f"Context:\n\nimport os\n{hole}")
    assert parts == Parts("a", "b", snippets=(Snippet("", "import os\n"),))
    # llama.vscode really writes its chunks so.
    assert parse_prompt(f"Context:\n\n[object Object]\n[object Object]{hole}") == Parts("a", "b")


@pytest.mark.parametrize(
    ("prefix", "path", "rest"),
    [
        # Continue without snippets: an empty line, then the file's path.
        ("\n# src/main.py\nimport os\n", "src/main.py", "import os\n"),
        ("\n// src/main.rs\nuse std;\n", "src/main.rs", "use std;\n"),
        ("# Path: a.py\n# a = 1\n# main.py\n# b.py\nx", "main.py", "# b.py\nx"),
        # A file that merely begins so.
        ("# src/main.py\nimport os\n", None, None),
        ("\n# about src/main.py\nimport os\n", None, None),
        ("\n# src/main.py", None, None),
        ("\n\n# src/main.py\nx", None, None),
        ("# Path: a.py\nimport os\n", None, None),
        ("# Path: a.py\n# a = 1\n\n# main.py\n", None, None),
        ("\n# Path: a.py\n# a = 1\n# main.py\n", None, None),
        ("# a = 1\n# Path: a.py\n# main.py\n", None, None),
        ("unknown src/main.py\n", None, None),
    ],
)
def test_the_path_that_continue_puts_into_a_comment_is_read(
    prefix: str, path: str | None, rest: str | None
) -> None:
    parts = parse_prompt(f"<fim_prefix>{prefix}<fim_suffix>b<fim_middle>")
    assert parts is not None
    assert (parts.path, parts.prefix) == (path, prefix if rest is None else rest)


def test_a_line_break_behind_the_closing_tag_is_the_prefix_where_it_can_be() -> None:
    """Suffix first and a prefix of one line break, or prefix first and a YAML block."""
    parts = parse_prompt("<fim_prefix><fim_suffix>b<fim_middle>\n")
    assert parts == Parts("\n", "b")
    assert parse_prompt("<fim_prefix>a<fim_suffix>b<fim_middle>\n") == Parts("a", "b")


def test_a_diff_among_the_comments_is_a_snippet_without_a_path() -> None:
    head = "# diff --git a/x b/x\n# +one\n# Path: a.py\n# a = 1\n# \n#   b\n# src/main.py\n"
    assert parse_prompt(f"<fim_prefix>{head}code<fim_suffix>b<fim_middle>") == Parts(
        "code",
        "b",
        "src/main.py",
        snippets=(Snippet("", "diff --git a/x b/x\n+one\n"), Snippet("a.py", "a = 1\n\n  b\n")),
    )


def test_code_on_a_files_first_line_is_no_path() -> None:
    hole = "<fim_prefix>a<fim_suffix>b<fim_middle>"
    parts = parse_prompt(f"<file_sep>def f():\n    return 1\n<file_sep>{hole}")
    assert parts == Parts("a", "b", snippets=(Snippet("", "def f():\n    return 1\n"),))


@pytest.mark.parametrize(
    ("prompt", "prefix", "suffix"),
    [
        # Somebody edits a file that is about tags: the outer ones count.
        (
            "<fim_prefix>t = '<fim_prefix>a<fim_suffix>b<fim_middle>'<fim_suffix>c<fim_middle>",
            "t = '<fim_prefix>a<fim_suffix>b<fim_middle>'",
            "c",
        ),
        ("[SUFFIX]c[PREFIX]t = '[PREFIX]'", "t = '[PREFIX]'", "c"),
        ("<fim_prefix><fim_suffix>c<fim_middle>t = '<fim_middle>'", "t = '<fim_middle>'", "c"),
        ("<fim_prefix>a<|fim_suffix|>b<fim_suffix>c<fim_middle>", "a<|fim_suffix|>b", "c"),
    ],
)
def test_tags_inside_the_users_text_leave_the_outer_layout(
    prompt: str, prefix: str, suffix: str
) -> None:
    parts = parse_prompt(prompt)
    assert parts is not None
    assert (parts.prefix, parts.suffix) == (prefix, suffix)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def f(",
        "x = '<fim_prefix>'",
        "print('<fim_prefix>a<fim_suffix>b<fim_middle>')",
        " <fim_prefix>a<fim_suffix>b<fim_middle>",
        "<fim_prefix>a<fim_suffix>b",
        "<fim_prefix>a<fim_middle>",
        "<fim_suffix>b<fim_middle>",
        "<fim_prefix>a<|fim_suffix|>b<fim_middle>",
        "<PRE>\nsome HTML\n</PRE>",
        "<s>struck out</s>",
        "[SUFFIX]\nname = x\n",
        "[PREFIX]a[SUFFIX]b",
        "Context:\n\nfoo",
        "Context:\n\nfoo<fim_prefix>bar",
        "<|user|>\nhello<|assistant|>\n",
        "<file_sep>",
        "<file_sep>def f():\n",
        "<repo_name>shop\n",
        "+++++ a.py\nx",
    ],
)
def test_a_text_that_is_no_whole_layout_stays_text(text: str, artifact: ModelArtifact) -> None:
    assert parse_prompt(text) is None
    if text.count("<f") < 2:
        assert understood(CompletionRequest(text), artifact) == CompletionRequest(text)


@given(st.lists(plain_texts | tagged_texts, max_size=5).map("".join))
def test_no_text_breaks_the_parser_and_none_is_invented(artifact: ModelArtifact, text: str) -> None:
    parts = parse_prompt(text)
    request = understood(CompletionRequest(text), artifact)
    if parts is None:
        assert request.prompt_ids is not None or request == CompletionRequest(text)
        return
    pieces = [parts.prefix, parts.suffix or "", *(s.text for s in parts.snippets)]
    assert all(piece in text for piece in pieces)
    assert (request.prefix, request.suffix) == (parts.prefix, parts.suffix)


@given(plain_texts, plain_texts, st.lists(st.tuples(plain_texts, plain_texts), max_size=3))
def test_no_text_is_lost(prefix: str, suffix: str, others: list[tuple[str, str]]) -> None:
    blocks = "".join(f"<file_sep>{path}\n{text}" for path, text in others)
    prompt = f"{blocks}<file_sep>a.py\n<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>"
    parts = parse_prompt(prompt)
    assert parts is not None
    assert (parts.path, parts.prefix, parts.suffix) == ("a.py", prefix, suffix)
    told = "\n".join(f"{snippet.path}\n{snippet.text}" for snippet in parts.snippets)
    assert all(text in told for _, text in others if text.strip())


def test_sentinels_of_our_own_in_no_known_layout_become_ids(artifact: ModelArtifact) -> None:
    prompt = "<fim_prefix>a <|endoftext|><fim_suffix>b<fim_middle>begun"
    ids = understood(CompletionRequest(prompt), artifact).prompt_ids
    assert ids is not None
    sentinel, encode = artifact.fim.ids, artifact.tokenizer.encode
    assert list(ids) == [
        *(sentinel["<fim_prefix>"], *encode("a <|endoftext|>")),
        *(sentinel["<fim_suffix>"], *encode("b")),
        *(sentinel["<fim_middle>"], *encode("begun")),
    ]
    assert sentinel["<|endoftext|>"] not in ids


def test_a_request_that_has_a_suffix_or_ids_is_left_alone(artifact: ModelArtifact) -> None:
    text = "<fim_prefix>a<fim_suffix>b<fim_middle>"
    for request in (CompletionRequest(text, ""), CompletionRequest(text, prompt_ids=(1,))):
        assert understood(request, artifact) is request


@pytest.mark.parametrize(
    "unit",
    [
        "<fim_prefix>",
        "<file_sep>a\n<fim_prefix>",
        "<file_sep>a.py\n",
        "<|file_sep|>\n<|fim_prefix|>",
        "[SUFFIX][PREFIX]",
        "\n\n+++++ ",
        "# Path: a.py\n",
        "# a\n",
        "\n###REFERENCE:\n###PATH:",
        "Context:\n\n",
    ],
)
def test_hostile_prompts_take_no_longer_than_long_ones(unit: str) -> None:
    """Two megabytes; work that grows with their square would take minutes."""
    start = time.perf_counter()
    for head in ("", "Context:\n\n", "[SUFFIX][PREFIX]+++++ ", "[SUFFIX][PREFIX]# Path: a.py\n"):
        parse_prompt(head + unit * (2_000_000 // len(unit)))
    assert time.perf_counter() - start < 30
