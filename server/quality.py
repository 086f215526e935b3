"""What a weight format costs in quality: `tabwright quality --holes FILE`.

Answers the same held-out holes (from `tabwright train holes`) with every format. The exact match
goes through the serving engine with all its approximations: greedy, the first line of the answer
must equal what the author wrote. The loss goes through the converted graph in the arithmetic named,
but without the engine's 8-bit key-value cache. Read `measure` first.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import anyio

from server.engines.cpu import CpuEngine
from server.engines.cpu_settings import CpuSettings, Precision, WeightFormat
from server.engines.ir import MODEL_FILE, ensure_ir, ir_folder
from server.prompt import PromptBuilder
from server.settings import BUNDLED_MODEL
from tabwright.artifact import ModelArtifact
from tabwright.errors import ConfigError
from tabwright.request import CompletionRequest, SamplingParams

ANSWER_TOKENS = 48


class Hole(NamedTuple):
    """One question and what the author wrote."""

    prefix: str
    middle: str
    suffix: str
    path: str


@dataclass(frozen=True, slots=True)
class Quality:
    """One weight format on one set of holes.

    loss: mean nats per token of prompt and answer together; answer_loss: of the author's answer and
    its end alone. exact_match: share of first lines that equal the author's.
    """

    weights: str
    arithmetic: str
    holes: int
    loss: float
    answer_loss: float
    exact_match: float


async def measure(artifact: ModelArtifact, holes: list[Hole], weights: WeightFormat) -> Quality:
    """Measure one format. `f32` runs exactly, the others as they are served."""
    precision = Precision.F32 if weights is WeightFormat.F32 else Precision.FAST
    settings = CpuSettings(weights=weights, precision=precision)
    builder = PromptBuilder(artifact, artifact.max_context)
    hits: list[bool] = []
    async with CpuEngine(artifact, settings) as engine:
        queue = list(holes)

        async def answer() -> None:
            while queue:
                hole = queue.pop()
                hits.append(await _first_line(engine, builder, hole) == hole.middle)

        async with anyio.create_task_group() as group:
            for _ in range(settings.slots):
                group.start_soon(answer)
    losses = await anyio.to_thread.run_sync(_losses, artifact, builder, holes, settings)
    return Quality(
        weights=weights.value,
        arithmetic=precision.value,
        holes=len(holes),
        loss=sum(row[0] for row in losses) / sum(row[1] for row in losses),
        answer_loss=sum(row[2] for row in losses) / sum(row[3] for row in losses),
        exact_match=statistics.fmean(hits),
    )


def _request(hole: Hole) -> CompletionRequest:
    return CompletionRequest(
        hole.prefix, hole.suffix, path=hole.path, sampling=SamplingParams(max_tokens=ANSWER_TOKENS)
    )


async def _first_line(engine: CpuEngine, builder: PromptBuilder, hole: Hole) -> str:
    built = builder.build(_request(hole))
    detokenizer = engine.artifact.tokenizer.detokenizer(built.ids)
    text = ""
    async with engine.stream(built.ids, built.sampling) as pieces:
        async for piece in pieces:
            text += detokenizer.push(piece.ids)
            if "\n" in text:
                break
    return text.split("\n")[0].rstrip()


def _losses(
    artifact: ModelArtifact, builder: PromptBuilder, holes: list[Hole], settings: CpuSettings
) -> list[tuple[float, int, float, int]]:
    """Summed nats and token counts of every hole: whole row, then the answer alone."""
    import numpy as np
    import openvino as ov

    folder = ir_folder(settings.cache_dir, artifact.digest, settings.weight_format)
    ensure_ir(artifact.path, folder, settings.weight_format)
    exact = settings.precision is Precision.F32
    hint = {"INFERENCE_PRECISION_HINT": "f32"} if exact else {}
    request: Any = ov.Core().compile_model(folder / MODEL_FILE, "CPU", hint).create_infer_request()
    rows = []
    for hole in holes:
        prompt = builder.build(_request(hole)).ids
        answer = [*artifact.tokenizer.encode(hole.middle), artifact.fim.stop_ids[0]]
        ids = np.array([*prompt, *answer], dtype=np.int64)[: artifact.max_context]
        request.reset_state()
        request.infer(
            {
                "input_ids": ids[None, :-1],
                "attention_mask": np.ones((1, len(ids) - 1), dtype=np.int64),
                "position_ids": np.arange(len(ids) - 1, dtype=np.int64)[None],
                "beam_idx": np.zeros(1, dtype=np.int32),
            }
        )
        logits_TV = request.get_tensor("logits").data[0].astype(np.float64)
        logits_TV -= logits_TV.max(axis=-1, keepdims=True)
        nats_T = np.log(np.exp(logits_TV).sum(-1)) - logits_TV[np.arange(len(ids) - 1), ids[1:]]
        own = nats_T[len(prompt) - 1 :]
        rows.append((float(nats_T.sum()), len(nats_T), float(own.sum()), len(own)))
    return rows


def read_holes(path: Path) -> list[Hole]:
    """Read what `tabwright train holes` wrote.

    Raises:
        ConfigError: the file is missing, empty or not of that form.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        holes = [Hole(row["prefix"], row["middle"], row["suffix"], row["path"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--holes {path}: {error!r}; write it with: tabwright train holes") from (
            error
        )
    if not holes:
        raise ConfigError(f"--holes {path}: the file is empty")
    return holes


def main(argv: list[str]) -> int:
    """Print a row a weight format."""
    parser = argparse.ArgumentParser(
        prog="tabwright quality",
        description="Compare weight formats by held-out loss and single-line exact match.",
        epilog="example: tabwright quality --holes data/holes.jsonl --weights f32,bf16,int8",
    )
    parser.add_argument("--holes", type=Path, required=True)
    parser.add_argument("--artifact", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--weights", default="f32,bf16,int8", help="formats, comma-separated")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    try:
        formats = [WeightFormat(name) for name in args.weights.split(",")]
    except ValueError as error:
        raise ConfigError(f"--weights: {error}; known: f32, bf16, int8") from error
    artifact, holes = ModelArtifact.load(args.artifact), read_holes(args.holes)
    results = [anyio.run(measure, artifact, holes, form) for form in formats]
    if args.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
        return 0
    print("weights  arithmetic  holes  loss    answer loss  exact match")
    for r in results:
        print(
            f"{r.weights:<8} {r.arithmetic:<11} {r.holes:<6} {r.loss:<7.4f} "
            f"{r.answer_loss:<12.4f} {100 * r.exact_match:.1f} %"
        )
    return 0
