"""Prompts fit the context exactly, are cut at line borders, and keep their cuts while typing."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.prompt import BuiltPrompt, ContextTooLong, PromptBuilder
from tabwright.artifact import ModelArtifact
from tabwright.errors import InvalidRequest
from tabwright.request import CompletionRequest, SamplingParams
from tests.fakes.tiny_artifact import make_tiny_artifact

CONTEXT = 256
FILE = "".join(f"    total_{n} = first[{n}] + second[{n}]\n" for n in range(400))


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    return make_tiny_artifact(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def builder(artifact: ModelArtifact) -> PromptBuilder:
    return PromptBuilder(artifact, CONTEXT)


def fill(builder: PromptBuilder, prefix: str, suffix: str, max_tokens: int = 32) -> BuiltPrompt:
    return builder.build(
        CompletionRequest(prefix, suffix, sampling=SamplingParams(max_tokens=max_tokens))
    )


def parts(artifact: ModelArtifact, ids: tuple[int, ...]) -> tuple[str, str]:
    """Prefix and suffix text of an SPM prompt."""
    sentinel = artifact.fim.ids
    middle = ids.index(sentinel["<fim_middle>"])
    start = ids.index(sentinel["<fim_suffix>"])
    decode = artifact.tokenizer.decode
    return decode(ids[middle + 1 :]), decode(ids[start + 1 : middle])


texts = st.text(alphabet=st.sampled_from("ab (\n\t🙂é"), max_size=60).map(lambda t: t * 40)


@given(texts, texts, st.integers(1, 5000), st.sampled_from([None, "src/a.py", "x" * 500]))
def test_prompt_and_answer_always_fit(
    builder: PromptBuilder, prefix: str, suffix: str, max_tokens: int, path: str | None
) -> None:
    request = CompletionRequest(
        prefix, suffix, path=path, sampling=SamplingParams(max_tokens=max_tokens)
    )
    built = builder.build(request)
    assert len(built.ids) + built.sampling.max_tokens <= CONTEXT
    if max_tokens <= CONTEXT // 2:
        assert built.sampling.max_tokens == max_tokens


@given(texts, texts)
def test_what_is_kept_touches_the_cursor(
    builder: PromptBuilder, artifact: ModelArtifact, prefix: str, suffix: str
) -> None:
    before, after = parts(artifact, fill(builder, prefix, suffix).ids)
    # A cut inside a character may leave half of it at the far end, never at the cursor.
    assert prefix.endswith(before)
    assert suffix.startswith(after.rstrip("\ufffd"))


def test_short_texts_are_kept_whole(builder: PromptBuilder, artifact: ModelArtifact) -> None:
    built = fill(builder, "def add(", "):\n    pass\n")
    assert parts(artifact, built.ids) == ("def add(", "):\n    pass\n")


def test_cuts_are_at_line_borders(builder: PromptBuilder, artifact: ModelArtifact) -> None:
    before, after = parts(artifact, fill(builder, FILE + "    x", FILE).ids)
    assert before.startswith("    total_")
    assert before.endswith("\n    x")
    assert after.endswith("]\n")


def test_most_of_the_budget_is_used(builder: PromptBuilder) -> None:
    used = [len(fill(builder, FILE[:n], FILE).ids) for n in range(8000, 8400, 10)]
    assert min(used) > 0.6 * (CONTEXT - 32)


def test_a_short_prefix_leaves_its_room_to_the_suffix(
    builder: PromptBuilder, artifact: ModelArtifact
) -> None:
    _, after = parts(artifact, fill(builder, "x = ", FILE).ids)
    assert len(artifact.tokenizer.encode(after)) > 0.7 * (CONTEXT - 32)


def test_one_endless_line_is_cut_anyway(builder: PromptBuilder, artifact: ModelArtifact) -> None:
    line = "var a=b;" * 5000
    before, after = parts(artifact, fill(builder, line, line).ids)
    assert len(before) > 100
    assert len(after) > 20


def test_typing_keeps_the_cached_part_of_the_prompt(builder: PromptBuilder) -> None:
    """Typing at the end of a long file: nearly every prompt extends the one before."""
    start, typed = 9000, 300
    prompts = [fill(builder, FILE[: start + n], FILE[5000:]).ids for n in range(typed)]
    recomputed = 0
    for older, newer in itertools.pairwise(prompts):
        common = next(
            (i for i, (a, b) in enumerate(zip(older, newer, strict=False)) if a != b),
            min(len(older), len(newer)),
        )
        recomputed += len(newer) - common
    total = sum(map(len, prompts))
    assert recomputed / total < 0.05


def test_sentinels_in_the_users_text_stay_text(
    builder: PromptBuilder, artifact: ModelArtifact
) -> None:
    built = fill(builder, "a = '<fim_middle>'", "<|endoftext|>")
    assert built.ids.count(artifact.fim.ids["<fim_middle>"]) == 1
    assert artifact.fim.ids["<|endoftext|>"] not in built.ids
    assert parts(artifact, built.ids) == ("a = '<fim_middle>'", "<|endoftext|>")


def test_the_header_names_the_file(builder: PromptBuilder, artifact: ModelArtifact) -> None:
    built = builder.build(CompletionRequest("x", "", path="src/a.py"))
    assert built.ids[0] == artifact.fim.ids["<file_sep>"]
    assert "src/a.py\n" in artifact.tokenizer.decode(built.ids)


def test_a_plain_prompt_is_never_cut(builder: PromptBuilder, artifact: ModelArtifact) -> None:
    fits = CompletionRequest("x = 1\n" * 20)
    assert artifact.tokenizer.decode(builder.build(fits).ids) == fits.prefix
    with pytest.raises(ContextTooLong, match="context is 256"):
        builder.build(CompletionRequest(FILE))
    with pytest.raises(ContextTooLong):
        builder.build(CompletionRequest("x" * 1_000_000))


def test_a_plain_prompt_is_given_the_room_that_is_left(builder: PromptBuilder) -> None:
    built = builder.build(CompletionRequest("x", sampling=SamplingParams(max_tokens=4096)))
    assert len(built.ids) + built.sampling.max_tokens == CONTEXT


def test_an_empty_plain_prompt_starts_a_new_text(
    builder: PromptBuilder, artifact: ModelArtifact
) -> None:
    assert builder.build(CompletionRequest("")).ids == (artifact.fim.stop_ids[0],)


def test_token_prompts_are_taken_as_they_are(
    builder: PromptBuilder, artifact: ModelArtifact
) -> None:
    ids = (artifact.fim.ids["<fim_prefix>"], 5, 6)
    request = CompletionRequest("", prompt_ids=ids)
    assert builder.build(request).ids == ids
    with pytest.raises(InvalidRequest, match="token ids"):
        builder.build(replace(request, prompt_ids=(artifact.vocab_size,)))
    with pytest.raises(ContextTooLong):
        builder.build(replace(request, prompt_ids=(5,) * CONTEXT))


def test_the_models_stop_tokens_are_always_asked_for(
    builder: PromptBuilder, artifact: ModelArtifact
) -> None:
    assert set(artifact.fim.stop_ids) <= set(fill(builder, "a", "b").sampling.stop_token_ids)
