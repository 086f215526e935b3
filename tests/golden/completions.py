"""Ask the bundled model the questions of `questions.json`, greedily and exactly (f32).

`python -m tests.golden.completions` records the answers after a deliberate change of the model or
of prompt building; review the difference before you commit it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio

from server.engines.registry import load_engine
from server.postprocess.stops import StopScanner
from server.prompt import PromptBuilder
from server.settings import BUNDLED_MODEL
from tabwright.artifact import ModelArtifact
from tabwright.request import CompletionRequest, SamplingParams

QUESTIONS = Path(__file__).with_name("questions.json")
ANSWERS = Path(__file__).with_name("answers.json")


async def answers() -> dict[str, str]:
    """One answer per question, up to the end of the line unless the question asks for more."""
    artifact = ModelArtifact.load(BUNDLED_MODEL)
    builder = PromptBuilder(artifact, artifact.max_context)
    found = {}
    async with load_engine("cpu", artifact, precision="f32") as engine:
        for question in json.loads(QUESTIONS.read_text("utf-8")):
            built = builder.build(
                CompletionRequest(
                    question["prefix"],
                    question.get("suffix"),
                    path=question.get("path"),
                    sampling=SamplingParams(max_tokens=question.get("max_tokens", 24)),
                )
            )
            stops, text_of = StopScanner(("\n",)), artifact.tokenizer.detokenizer(built.ids)
            text = ""
            async with engine.stream(built.ids, built.sampling) as pieces:
                async for piece in pieces:
                    new, stopped = stops.push(text_of.push(piece.ids))
                    text += new
                    if stopped:
                        break
            found[question["name"]] = text
    return found


def main() -> int:
    """Record."""
    ANSWERS.write_text(
        json.dumps(anyio.run(answers), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
