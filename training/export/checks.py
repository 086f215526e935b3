"""Is the exported checkpoint still the model that was read? Asked of transformers, on the CPU.

Each check returns what it measured, for the manifest, or raises. They say nothing about
TensorRT-LLM or a GPU. Needs torch and transformers. The files by themselves are asked in
`folder_checks.py`, the transformers of NVIDIA's container in `container_checks.py`. Read
`check_logits` first.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabwright.artifact import ModelArtifact
from tabwright.errors import ValidationFailed
from training.export.finished import Finished
from training.export.portable import NEW_KEYS, OLD_KEYS
from training.export.source import CORPUS, Source

TOLERANCE = 1e-4  # of logits in float32, where nothing but the order of sums may differ
_REFERENCE_TOKENS = 32
_PROMPT_TOKENS = 48


def check_tokenizer(export: Finished) -> dict[str, Any]:
    """The tokenizer as transformers loads it gives our ids, and every sentinel one id."""
    from transformers import PreTrainedTokenizerFast

    source = export.source
    theirs = PreTrainedTokenizerFast.from_pretrained(export.checkpoint)
    for sentinel, token_id in source.fim.ids.items():
        if (found := theirs.convert_tokens_to_ids(sentinel)) != token_id:
            raise ValidationFailed(f"sentinel {sentinel!r} is id {found}, not {token_id}")
    plain = [text for text in CORPUS if not any(s in text for s in source.fim.ids)]
    for text in plain:
        found = theirs(text, add_special_tokens=False)["input_ids"]
        if found != source.tokenizer.encode(text):
            raise ValidationFailed(f"{text!r} has other ids in transformers than in the gateway")
    return {
        "name": "tokenizer parity",
        "texts": len(plain),
        "sentinels": len(source.fim.ids),
        "transformers": _version(),
    }


def check_logits(export: Finished) -> dict[str, Any]:
    """The exported weights are the source's rounded to bf16; tells how much rounding changed."""
    import torch

    prompts = prompts_of(export.source)
    original = load_model(export.source.path)
    before = logits_with(original, prompts)
    with torch.no_grad():
        for parameter in original.parameters():
            parameter.copy_(parameter.to(torch.bfloat16).float())
    rounded = logits_with(original, prompts)
    exported = logits_with(load_model(export.checkpoint), prompts)
    difference = largest(rounded, exported)
    if not difference <= TOLERANCE:  # also true for NaN
        raise ValidationFailed(
            f"logits of the exported checkpoint differ by {difference:.3g} from the model it was "
            f"made of; {TOLERANCE} is allowed"
        )
    return {
        "name": "logit parity",
        "prompts": len(prompts),
        "difference": difference,
        "rounding": largest(before, exported),
        "transformers": _version(),
    }


def check_config(export: Finished) -> dict[str, Any]:
    """The model is the same whether a reader knows the keys of 4.57 only, or those of 5 only."""
    checkpoint = export.checkpoint
    prompts = prompts_of(export.source)[:2]
    expected = logits_with(load_model(checkpoint), prompts)
    config = json.loads((checkpoint / "config.json").read_text("utf-8"))
    worst = 0.0
    for hidden in (NEW_KEYS, OLD_KEYS):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for file in checkpoint.glob("*.safetensors*"):
                (folder / file.name).symlink_to(file.resolve())
            kept = {key: value for key, value in config.items() if key not in hidden}
            (folder / "config.json").write_text(json.dumps(kept), "utf-8")
            worst = max(worst, largest(expected, logits_with(load_model(folder), prompts)))
    if not worst <= TOLERANCE:
        raise ValidationFailed(
            f"without one of its two key sets config.json is another model: logits differ by "
            f"{worst:.3g}"
        )
    return {"name": "config in both key sets", "difference": worst, "transformers": _version()}


def logits_of(checkpoint: Path, prompts: Sequence[Sequence[int]]) -> list[Any]:
    """Logits of every place of every prompt, in float32."""
    return logits_with(load_model(checkpoint), prompts)


def reference_answers(exported: ModelArtifact) -> dict[str, Any]:
    """Greedy answers of transformers in float32 to a few prompts, with the margin of each token."""
    import torch

    model = load_model(exported.path)
    answers = []
    for text in CORPUS[:4]:
        ids = exported.fim.prompt(exported.tokenizer.encode(text), exported.tokenizer.encode("\n"))
        prompt, chosen, margins = list(ids), [], []
        count = min(_REFERENCE_TOKENS, exported.max_context - len(prompt))
        for _ in range(count):
            with torch.no_grad():
                last = model(torch.tensor([ids])).logits[0, -1].float()
            best = torch.topk(last, 2)
            chosen.append(int(best.indices[0]))
            margins.append(round(float(best.values[0] - best.values[1]), 5))
            ids = [*ids, chosen[-1]]
        answers.append({"prompt": prompt, "ids": chosen, "margins": margins})
    return {"made_by": f"transformers {_version()}, float32, CPU", "answers": answers}


def _version() -> str:
    import transformers

    return str(transformers.__version__)


def load_model(folder: Path) -> Any:
    """Load a checkpoint in float32.

    Raises:
        ValidationFailed: a tensor is missing, or one is not the model's.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    model, report = loaded
    if report["missing_keys"] or report["unexpected_keys"]:
        names = sorted([*report["missing_keys"], *report["unexpected_keys"]])[:3]
        raise ValidationFailed(f"{folder.name}: tensors missing or unknown: {', '.join(names)}")
    return model.eval()


def prompts_of(source: Source) -> list[list[int]]:
    """What the checks compute: the beginnings of difficult texts."""
    room = min(_PROMPT_TOKENS, source.max_context)
    return [source.tokenizer.encode(text)[:room] for text in CORPUS]


def logits_with(model: Any, prompts: Sequence[Sequence[int]]) -> list[Any]:
    """Logits of every place of every prompt."""
    import torch

    with torch.no_grad():
        return [model(torch.tensor([list(ids)])).logits[0] for ids in prompts]


def largest(one: Sequence[Any], other: Sequence[Any]) -> float:
    """Largest difference between two lists of logits."""
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))
