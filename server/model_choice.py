"""Which of the loaded models answers a request, and how: what flags say about its user.

    flag          value              in place of
    model         a model's name     the default model
    postprocess   off or a version   the setting
    lines         auto, single, …    the setting
    speculate     true or false      the setting

What a request asks for by itself comes first. Flags decide about fill-in-the-middle only; a plain
continuation, which tools ask for, gets the default model unless it names another one. A value that
cannot be obeyed is counted, logged once, and the default holds. Read `ModelChoice.choose` first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from ab.assignment import Reason
from ab.offers import Offers
from server.caller import Caller, Lines, Wishes
from server.flag_watch import FlagWatch
from server.inflight import Running
from server.postprocess import VERSIONS
from server.prompt import PromptBuilder
from tabwright.engine import CompletionEngine
from tabwright.errors import InvalidRequest
from tabwright.request import CompletionRequest

logger = logging.getLogger(__name__)

MODEL = "model"


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """A model that is loaded, under the name that requests and flags give it."""

    name: str
    engine: CompletionEngine
    prompts: PromptBuilder


class ModelChoice:
    """The loaded models, and the flags that choose among them."""

    def __init__(
        self,
        models: Sequence[ServedModel],
        flags: FlagWatch | None = None,
        cohort_of: Callable[[Caller], str] = lambda _: "",
        on_fallback: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Choose among `models`, of which the first is the default.

        cohort_of: the group of users that rules know a caller by. on_fallback: is told of each flag
        whose value could not be obeyed.
        """
        self.default = models[0]
        self.models: Mapping[str, ServedModel] = {model.name: model for model in models}
        self._offers = offers(list(self.models))
        self._flags = flags or FlagWatch()
        self._cohort_of = cohort_of
        self._on_fallback = on_fallback
        self._told: set[tuple[str, str]] = set()

    def of(self, running: Running) -> ServedModel:
        """The model that answers a request."""
        return self.models.get(running.model, self.default)

    def choose(self, request: CompletionRequest, running: Running) -> ServedModel:
        """Decide, once for each request, and write on `running` what was decided.

        However the flags change meanwhile, all choices of a request come from one model.

        Raises:
            InvalidRequest: it names another model for ids, which are those of the default one.
        """
        if not running.model:
            said = self._said(request, running) if self._flags.versions else {}
            running.wishes = _obeyed(running.wishes, said)
            running.model = str(said.get(MODEL) or self._asked(request) or self.default.name)
        return self.models[running.model]

    def _asked(self, request: CompletionRequest) -> str | None:
        """A model that a request names; the default's name only says that a model is wanted."""
        if request.model == self.default.name or request.model not in self.models:
            return None
        if request.prompt_ids is not None or _tells_ids(request):
            fix = f"token ids and their probabilities are those of {self.default.name!r}; name that"
            raise InvalidRequest("model", request.model, fix)
        return request.model

    def _said(self, request: CompletionRequest, running: Running) -> Mapping[str, object]:
        """What the flags say that concern this request, as far as it can be obeyed."""
        if request.suffix is None or request.prompt_ids is not None:
            return {}
        settled = running.wishes.asked
        if self._asked(request) or _tells_ids(request):
            settled = settled | {MODEL}
        caller = running.caller
        user = caller.user or caller.key
        context = {
            "targetingKey": user,
            "language": running.language,
            "editor": running.protocol,
            "cohort": self._cohort_of(caller),
        }
        found: dict[str, object] = {}
        for key, known in self._offers.items():
            if key in settled or (told := self._flags.evaluate(key, context)) is None:
                continue
            mark = "!" if self._flags.overridden(key, user) else ""
            running.variants[mark + key] = told.variant
            obeyed = any(type(told.value) is type(v) and told.value == v for v in known)
            if obeyed:
                found[key] = told.value
            if not obeyed or told.reason is Reason.ERROR:
                self._fallen_back(key, told.variant)
        return found

    def _fallen_back(self, key: str, variant: str) -> None:
        self._on_fallback(key)
        if (key, variant) not in self._told and len(self._told) < 1000:
            self._told.add((key, variant))
            logger.error(
                "a flag gives what this gateway does not have, the default holds instead",
                extra={"flag": key, "variant": variant},
            )


def offers(models: Sequence[str]) -> Offers:
    """What a gateway with these models can obey."""
    return {
        MODEL: list(models),
        "postprocess": ["off", *VERSIONS],
        "lines": [line.value for line in Lines],
        "speculate": [True, False],
    }


def variants_text(variants: Mapping[str, str]) -> str:
    """Write the variants of flags as one line of ASCII; `!` marks those that were fixed by hand."""
    return "&".join(f"{flag}={quote(variant, safe='')}" for flag, variant in variants.items())


def _tells_ids(request: CompletionRequest) -> bool:
    """Tell whether token ids are in the request or its answer: they are the default model's."""
    return bool(request.sampling.asked() & {"alternatives", "prompt_logprobs", "logit_bias"})


def _obeyed(wishes: Wishes, said: Mapping[str, object]) -> Wishes:
    """The wishes with what flags say; who asked for what does not matter any more."""
    if not said and not wishes.asked:
        return wishes
    if "lines" in said:
        eagerness = replace(wishes.eagerness, lines=Lines(str(said["lines"])))
        wishes = replace(wishes, eagerness=eagerness)
    return replace(
        wishes,
        postprocess=str(said.get("postprocess", wishes.postprocess)),
        speculate=bool(said.get("speculate", wishes.speculate)),
        asked=frozenset(),
    )
