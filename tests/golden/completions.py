"""Ask the bundled model the questions of `questions.json`, greedily and exactly (f32).

`python -m tests.golden.completions` records the answers after a deliberate change of the model or
of prompt building; review the difference before you commit it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio

from server.caller import Wishes
from server.chain import Chain
from server.engines.registry import load_engine
from server.prompt import PromptBuilder
from server.settings import BUNDLED_MODEL
from tabwright.artifact import ModelArtifact
from tabwright.request import CompletionRequest, SamplingParams

QUESTIONS = Path(__file__).with_name("questions.json")
ANSWERS = Path(__file__).with_name("answers.json")


async def answers() -> dict[str, str]:
    """One answer per question, as a user gets it; a plain one up to the end of its line."""
    artifact = ModelArtifact.load(BUNDLED_MODEL)
    builder = PromptBuilder(artifact, artifact.max_context)
    found = {}
    async with load_engine("cpu", artifact, precision="f32") as engine:
        for question in json.loads(QUESTIONS.read_text("utf-8")):
            request = CompletionRequest(
                question["prefix"],
                question.get("suffix"),
                path=question.get("path"),
                sampling=SamplingParams(max_tokens=question.get("max_tokens", 24)),
                stop=() if "suffix" in question else ("\n",),
            )
            built = builder.build(request)
            chain = Chain(request, Wishes(postprocess="v1"))
            text_of = artifact.tokenizer.detokenizer(built.ids)
            text, stopped = "", False
            async with engine.stream(built.ids, built.sampling) as pieces:
                async for piece in pieces:
                    new, stopped = chain.push(text_of.push(piece.ids), piece.logprobs)
                    text += new
                    if stopped:
                        break
            if not stopped:
                text += chain.flush(whole=False)
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
