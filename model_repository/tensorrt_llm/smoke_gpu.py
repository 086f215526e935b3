"""Run inside the container on a GPU: does TensorRT-LLM serve this export, and serve it right?

    python smoke_gpu.py          in the exported folder

Checks versions and signatures, loads the model, compares greedy answers with `reference.json`,
streams, stops, cancels 100 of 200 requests, and writes the level `gpu-smoke` with what it saw into
`manifest.json`. Exit code 1 and no level on the first failure. Does not ask Triton: it asks the LLM
that `model.py` asks. Imports nothing of Tabwright.
"""

from __future__ import annotations

import asyncio
import datetime
import importlib
import inspect
import json
import os
import sys
from pathlib import Path

# The names that `model.py` uses of TensorRT-LLM, transcribed from 1.2. The tests hold their
# stand-in to this table; here the real package is held to it.
TRANSCRIBED_FROM = "1.2"
USED = {
    "generate_async": ("inputs", "sampling_params", "lora_request", "streaming"),
    "get_stats_async": ("timeout",),
    "LoRARequest": ("lora_name", "lora_int_id", "lora_path"),
    "SamplingParams": (
        *("max_tokens", "end_id", "stop_token_ids", "temperature", "top_p", "top_k", "seed"),
        *("logprobs", "detokenize", "add_special_tokens", "min_p"),
        *("repetition_penalty", "presence_penalty", "frequency_penalty"),
    ),
}
NEAR_TIE = 0.5  # margin of two logits below which bf16 may choose the other
PATIENCE_S = 120


def main(folder):
    """Run every check; return the exit code."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    settings = read_yaml(folder, manifest["name"])
    module = importlib.import_module(settings["tabwright"]["runtime"])
    try:
        checks = [
            check_container(manifest),
            check_version(module, manifest),
            check_signatures(module, settings["tabwright"]),
        ]
        arguments = settings["llm"] | {"model": str(folder / "checkpoint")}
        llm = module.LLM(**arguments)
        try:
            checks += asyncio.run(check_answers(module, llm, folder, settings["tabwright"]))
        finally:
            llm.shutdown()
    except AssertionError as error:
        print(f"smoke run failed: {error}", file=sys.stderr)
        return 1
    record(folder, manifest, checks, "gpu-smoke" if module.__name__ == "tensorrt_llm" else "cpu")
    print(json.dumps(checks, indent=2))
    return 0


def read_yaml(folder, name):
    """The model's own settings, as `model.py` reads them."""
    import yaml

    file = folder / "model_repository" / name / "1" / "model.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def check_container(manifest):
    """The manifest says by digest which image this is; nobody inside can look it up."""
    container = manifest["container"] or {"tag": "none", "digest": "none"}
    assert container["digest"], (
        "manifest.json does not say which image this is; fill its digest in with "
        "tabwright export --container-digest sha256:... --out FOLDER"
    )
    return {"name": "container", **container}


def check_version(module, manifest):
    """The runtime is the one that the export was made for."""
    wanted = manifest["versions"]["runtime"][module.__name__]
    assert module.__version__ == wanted, f"{module.__name__} {module.__version__}, not {wanted}"
    return {"name": "version", module.__name__: wanted}


def check_signatures(module, ours):
    """Everything that `model.py` names exists under that name."""
    executor = importlib.import_module(ours["lora_module"])
    targets = {
        "generate_async": module.LLM.generate_async,
        "get_stats_async": module.LLM.get_stats_async,
        "LoRARequest": executor.LoRARequest,
        "SamplingParams": module.SamplingParams,
    }
    for name, target in targets.items():
        missing = set(USED[name]) - set(inspect.signature(target).parameters)
        assert not missing, f"{name} has no parameter {', '.join(sorted(missing))}"
    return {"name": "signatures", "checked": sorted(targets)}


async def check_answers(module, llm, folder, ours):
    """Greedy answers, stop ids, log probabilities, cancellation, statistics, adapters."""
    reference = json.loads((folder / "reference.json").read_text(encoding="utf-8"))["answers"]
    done = []
    worst = None
    for answer in reference:
        output = await generate(module, llm, answer["prompt"], len(answer["ids"]), logprobs=1)
        assert output.finish_reason == "length", f"ended with {output.finish_reason!r}"
        assert len(output.logprobs or ()) == len(output.token_ids), "a token has no log probability"
        for place, (ours, theirs) in enumerate(zip(output.token_ids, answer["ids"])):  # noqa: B905
            if ours != theirs:
                margin = answer["margins"][place]
                assert margin < NEAR_TIE, f"token {place} differs at a margin of {margin}"
                worst = max(worst or 0.0, margin)
                break
    done.append({"name": "greedy ids", "prompts": len(reference), "largest_margin_missed": worst})
    free = reference[0]["ids"]
    stop = free[-1]
    output = await generate(module, llm, reference[0]["prompt"], len(free), stop_token_ids=[stop])
    told = list(output.token_ids)
    assert output.finish_reason == "stop", "a stop id did not end the answer"
    assert stop not in told[:-1], "the answer goes on behind a stop id"
    done.append({"name": "stop ids", "stop_id_in_output": told[-1:] == [stop]})
    done.append(await check_cancelling(module, llm, reference[0]["prompt"]))
    done.append(await check_statistics(llm))
    if ours.get("loras"):
        done.append(await check_adapters(module, llm, reference[0]["prompt"], folder, ours))
    return done


async def check_statistics(llm):
    """The KV cache is told in the words that the gauge reads, and nobody holds a block any more."""
    last = None
    async for told in llm.get_stats_async(timeout=2):
        last = json.loads(told) if isinstance(told, str) else told
    blocks = (last or {}).get("kvCacheStats")
    assert blocks, "no kvCacheStats among the statistics"
    assert blocks["maxNumBlocks"] > 0, "a KV cache without blocks"
    return {"name": "statistics", "used": blocks["usedNumBlocks"], "max": blocks["maxNumBlocks"]}


async def check_adapters(module, llm, prompt, folder, ours):
    """Every adapter can be asked for, and moves the log probabilities."""
    make = importlib.import_module(ours["lora_module"]).LoRARequest
    base = await generate(module, llm, prompt, 4, logprobs=1)
    for number, name in enumerate(ours["loras"], start=1):
        adapter = make(name, number, str(folder / "lora" / name))
        output = await generate(module, llm, prompt, 4, adapter=adapter, logprobs=1)
        same = output.logprobs == base.logprobs and output.token_ids == base.token_ids
        assert not same, f"adapter {name} changes nothing"
    return {"name": "adapters", "adapters": list(ours["loras"])}


async def check_cancelling(module, llm, prompt):
    """Of 200 requests 100 are aborted; all end, and the others are whole."""
    ended = {"cancelled": 0, "whole": 0}

    async def one(number):
        generation = begin(module, llm, prompt, 16)
        async for output in generation:
            if number % 2 and not output.outputs[0].finish_reason:
                generation.abort()
        whole = len(generation.outputs[0].token_ids) == 16
        ended["whole" if whole else "cancelled"] += 1

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(one(number))
    assert ended["whole"] >= 100, f"{ended['whole']} of 100 answers are whole"
    return {"name": "cancelling", **ended}


def begin(module, llm, prompt, max_tokens, adapter=None, **more):
    """Start one greedy generation."""
    sampling = module.SamplingParams(
        max_tokens=max_tokens,
        end_id=-1,
        top_k=1,
        detokenize=False,
        add_special_tokens=False,
        **more,
    )
    wish = {} if adapter is None else {"lora_request": adapter}
    return llm.generate_async(inputs=list(prompt), sampling_params=sampling, streaming=True, **wish)


async def generate(module, llm, prompt, max_tokens, **more):
    """Run one greedy generation to its end."""
    generation = begin(module, llm, prompt, max_tokens, **more)
    async with asyncio.timeout(PATIENCE_S):
        async for _ in generation:
            pass
    return generation.outputs[0]


def record(folder, manifest, checks, level):
    """Write the level and what was seen, whole or not at all."""
    manifest["validation"] |= {"level": level, "smoke": checks}
    manifest["validation"]["smoke_date"] = datetime.date.today().isoformat()
    fresh = folder / f".manifest-{os.getpid()}"
    fresh.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    fresh.replace(folder / "manifest.json")


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parent))
