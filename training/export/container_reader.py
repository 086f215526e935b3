"""Run by the Python of NVIDIA's container: what its transformers makes of a checkpoint.

    python container_reader.py CHECKPOINT LOGITS <given.json

Imports nothing of ours. Prints one line of JSON and writes the logits of each prompt into LOGITS.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main(folder: str, file: str) -> None:
    """Load tokenizer and model as TensorRT-LLM does, and tell what they give."""
    import torch
    import transformers
    from safetensors.torch import save_file

    given = json.load(sys.stdin)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.eval()
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in given["texts"]]
    sentinels = [tokenizer(t, add_special_tokens=False)["input_ids"] for t in given["sentinels"]]
    with torch.inference_mode():
        logits = {
            str(number): model(torch.tensor([prompt])).logits[0].float().contiguous()
            for number, prompt in enumerate(given["prompts"])
        }
    save_file(logits, file)
    told = {
        "version": transformers.__version__,
        "rope_theta": model.config.rope_theta,
        "ids": ids,
        "decoded": [tokenizer.decode(row, clean_up_tokenization_spaces=False) for row in ids],
        "sentinel_ids": sentinels,
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
