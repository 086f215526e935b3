"""Does the transformers of NVIDIA's container read the exported checkpoint as we do?

Version 4.57.3 is what TensorRT-LLM 1.2.1 loads config and tokenizer with. It knows other keys than
5.x and says nothing about those that it does not know. Runs in an environment of its own, see
`container_python.py`. Read `check_container_reader` first.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tabwright.errors import ValidationFailed
from training.export.checks import TOLERANCE, logits_of, prompts_of
from training.export.container_python import run_in_container_python
from training.export.finished import Finished
from training.export.source import CORPUS

TRANSFORMERS = "4.57.3"
_SCRIPT = Path(__file__).with_name("container_reader.py")


def check_container_reader(export: Finished) -> dict[str, Any]:
    """Ids, sentinels, rotary base and logits are the same there.

    Raises:
        ValidationFailed: something is not, or the checkpoint cannot be loaded there.
    """
    assert export.reader is not None
    prompts = prompts_of(export.source)
    sentinels = export.source.fim.ids
    plain = [text for text in CORPUS if not any(s in text for s in sentinels)]
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "logits.safetensors"
        told = run_in_container_python(
            export.reader,
            _SCRIPT,
            [export.checkpoint, file],
            {"texts": plain, "sentinels": list(sentinels), "prompts": prompts},
        )
        difference = _difference(export, prompts, file)
    if told["version"] != TRANSFORMERS:
        raise ValidationFailed(f"the reader has transformers {told['version']}, not {TRANSFORMERS}")
    for text, ids, back in zip(plain, told["ids"], told["decoded"], strict=True):
        if ids != export.source.tokenizer.encode(text):
            raise ValidationFailed(f"{text!r} has other ids in transformers {TRANSFORMERS}")
        if back != text:
            raise ValidationFailed(f"{text!r} comes back as {back!r} in {TRANSFORMERS}")
    for (sentinel, token_id), ids in zip(sentinels.items(), told["sentinel_ids"], strict=True):
        if ids != [token_id]:
            raise ValidationFailed(f"sentinel {sentinel!r} is {ids} in {TRANSFORMERS}")
    if not difference <= TOLERANCE:  # also true for NaN
        raise ValidationFailed(
            f"transformers {TRANSFORMERS} computes another model: logits differ by "
            f"{difference:.3g}, rotary base {told['rope_theta']}"
        )
    return {
        "name": "transformers of the container",
        "texts": len(plain),
        "prompts": len(prompts),
        "difference": difference,
        "transformers": told["version"],
    }


def _difference(export: Finished, prompts: list[list[int]], file: Path) -> float:
    from safetensors.torch import load_file

    theirs = load_file(file)
    ours = logits_of(export.checkpoint, prompts)
    return max(float((mine - theirs[str(number)]).abs().max()) for number, mine in enumerate(ours))
