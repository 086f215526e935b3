"""Foreign models and adapters, exported and served by a real Triton: its ids are transformers'.

All stand in one model repository, so that one server serves them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes.foreign_checkpoint import FAMILY_OF, make_foreign_checkpoint
from tests.fakes.lora_adapter import make_adapter
from tests.fakes.triton_server import TritonServer, ask, triton_server
from training.export.lora_check import merge
from training.export.source import CORPUS
from training.export.tensorrt_llm import export_model

pytestmark = [pytest.mark.needs("triton"), pytest.mark.needs("torch"), pytest.mark.slow]
COUNT = 16
SHORT = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "Starcoder2ForCausalLM": "starcoder2",
}


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("exports")
    made = {}
    for architecture, name in SHORT.items():
        checkpoint = make_foreign_checkpoint(folder / "sources" / name, architecture)
        # Starcoder2 names its MLP otherwise; the adapter is for the others.
        adapters = {"mine": make_adapter(folder / "adapters" / name)} if name == "llama" else {}
        made[name] = folder / name
        export_model(
            checkpoint, made[name], to="local_llm", name=name, family=FAMILY_OF[architecture],
            validate=False, loras=adapters,
        )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def server(exports: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    repository = tmp_path_factory.mktemp("repository")
    for name, export in exports.items():
        (repository / name).symlink_to(export / "model_repository" / name)
    with triton_server(repository, tmp_path_factory.mktemp("home")) as server:
        yield server


def greedy(model: Any, prompt: Sequence[int]) -> list[int]:
    import torch

    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(COUNT):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def prompts(export: Path) -> list[list[int]]:
    from tabwright.artifact import ModelArtifact

    artifact = ModelArtifact.load(export / "checkpoint")
    encode = artifact.tokenizer.encode
    return [artifact.fim.prompt(encode(text), encode("\n")) for text in CORPUS[:5]]


def loaded(folder: Path) -> Any:
    from training.export.checks import load_model

    return load_model(folder)


@pytest.mark.parametrize("name", SHORT.values())
def test_triton_gives_the_ids_of_transformers(
    server: TritonServer, exports: dict[str, Path], name: str
) -> None:
    model = loaded(exports[name] / "checkpoint")
    for prompt in prompts(exports[name]):
        assert ask(server, name, prompt, COUNT) == (greedy(model, prompt), "length")


def test_an_adapter_gives_the_ids_of_the_merged_model_and_the_base_keeps_its_own(
    server: TritonServer, exports: dict[str, Path]
) -> None:
    base = loaded(exports["llama"] / "checkpoint")
    merged = merge(loaded(exports["llama"] / "checkpoint"), exports["llama"] / "lora" / "mine")
    mine = np.array([b"mine"], np.object_)
    differed = 0
    for prompt in prompts(exports["llama"]):
        with_it, without = greedy(merged, prompt), greedy(base, prompt)
        assert ask(server, "llama", prompt, COUNT, lora_name=mine) == (with_it, "length")
        assert ask(server, "llama", prompt, COUNT) == (without, "length")
        differed += with_it != without
    assert differed


def test_an_unknown_adapter_is_refused_and_the_model_goes_on(
    server: TritonServer, exports: dict[str, Path]
) -> None:
    prompt = prompts(exports["llama"])[0]
    unknown = np.array([b"other"], np.object_)
    assert "lora_name is none of" in ask(server, "llama", prompt, lora_name=unknown)[1]
    assert "lora_name is none of" in ask(server, "qwen2", prompt, lora_name=unknown)[1]
    assert ask(server, "llama", prompt)[1] == "length"


def test_the_gauges_say_nothing_is_left(server: TritonServer) -> None:
    told = server.metrics()
    for name in ("active", "waiting", "kv_cache_used_ratio"):
        assert told[f"tabwright_llm_{name}"] == 0
    assert told["tabwright_llm_tokens_total"] > 0


def test_the_manifest_of_a_cpu_export_needs_no_container(exports: dict[str, Path]) -> None:
    manifest = json.loads((exports["llama"] / "manifest.json").read_text())
    assert (manifest["container"], manifest["target"]) == (None, "local_llm")
