"""Run by the Python of NVIDIA's container: quantise a checkpoint with ModelOpt.

    python container_quantizer.py METHOD CHECKPOINT OUT <given.json

Imports nothing of ours. Calibrates on the rows `calibration` of what it is given, writes the
quantised checkpoint into OUT, and prints one line of JSON with the mean loss of the rows `held_out`
before and after, as ModelOpt simulates it.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main(method: str, folder: str, out: str) -> None:
    """Quantise; ModelOpt prints too, so only the last line of the output is ours."""
    import modelopt
    import modelopt.torch.quantization as mtq
    import torch
    import transformers
    from modelopt.torch.export import export_hf_checkpoint

    given = json.load(sys.stdin)
    settings = {"fp8": mtq.FP8_DEFAULT_CFG, "int4_awq": mtq.INT4_AWQ_CFG}[method]
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    model.eval()
    before = mean_loss(model, given["held_out"])

    def calibrate(calibrated: Any) -> None:
        with torch.inference_mode():
            for row in given["calibration"]:
                calibrated(torch.tensor([row["ids"]]))

    quantised = mtq.quantize(model, settings, calibrate)
    after = mean_loss(quantised, given["held_out"])
    with torch.inference_mode():
        export_hf_checkpoint(quantised, dtype=torch.bfloat16, export_dir=out)
    told = {"modelopt": modelopt.__version__, "loss_before": before, "loss_simulated": after}
    sys.stdout.write("\n" + json.dumps(told) + "\n")


def mean_loss(model: Any, rows: list[dict[str, Any]]) -> float:
    """Mean negative log likelihood of the ids from `answer` on, by token."""
    import torch

    total, count = 0.0, 0
    with torch.inference_mode():
        for row in rows:
            ids, start = torch.tensor(row["ids"]), row["answer"]
            logits = model(ids[None]).logits[0].float()
            losses = torch.nn.functional.cross_entropy(
                logits[start - 1 : -1], ids[start:], reduction="sum"
            )
            total, count = total + float(losses), count + len(ids) - start
    return total / count


if __name__ == "__main__":
    main(*sys.argv[1:])
