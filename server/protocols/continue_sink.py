"""Where Continue may send its development data: `/v1/continue/events`.

Continue names its completions itself, so ours is recognised by what stands around the cursor after
it was accepted; that text is dropped at once. The model's name is not compared, as Continue may
call it otherwise. Continue tells of a completion once it knows what became of it, so each report
says that it was shown, too. Needs the `all` level to be recognised. Read `ContinueSink.report`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from server.caller import Caller, KeyScope
from server.event_stream import JSON, JsonResponse, Problem
from server.gateway import Call, Gateway, Route, read_wire
from server.suggestions import event_id
from server.telemetry import EventKind, Part, Suggested, SuggestionEvent
from tabwright.languages import language_label


class ContinueEvent(BaseModel):
    """Whatever Continue reports; only `autocomplete` is about suggestions."""

    model_config = ConfigDict(extra="ignore")

    name: StrictStr = Field(max_length=128)
    data: dict[str, Any] = {}


class AutocompleteData(BaseModel):
    """What became of one completion. The texts come on the level `all` only."""

    model_config = ConfigDict(extra="ignore")

    accepted: StrictBool
    completionId: StrictStr = Field("", max_length=128)
    filepath: StrictStr | None = None
    prefix: StrictStr | None = Field(None, repr=False)
    suffix: StrictStr | None = Field(None, repr=False)
    prompt: StrictStr | None = Field(None, repr=False)
    completion: StrictStr | None = Field(None, repr=False)


class ContinueSink:
    """Serves the protocol."""

    name = "continue"
    error_type = JSON

    def __init__(self, gateway: Gateway) -> None:
        """Serve with the parts of `gateway`."""
        self._suggestions = gateway.reception.suggestions
        self._metrics = gateway.reception.metrics

    def routes(self) -> Sequence[Route]:
        """The paths it answers."""
        return (
            Route(
                "POST",
                "/v1/continue/events",
                self.report,
                wire=ContinueEvent,
                scope=KeyScope.EVENTS,
                success=202,
            ),
        )

    def error_body(self, problem: Problem) -> Mapping[str, Any]:
        """One string; Continue reads the status only."""
        return {"error": problem.message}

    async def report(self, call: Call) -> JsonResponse:
        """Record one report."""
        event = read_wire(ContinueEvent, call.body)
        if event.name == "autocomplete":
            await self._autocomplete(read_wire(AutocompleteData, event.data), call.caller)
        else:
            self._metrics.editor_event(None, self.name)
        return JsonResponse({}, 202)

    async def _autocomplete(self, data: AutocompleteData, caller: Caller) -> None:
        ours = self._find(data, caller)
        name = data.completionId or event_id()
        suggested = Suggested(ours or name, language=language_label(None, data.filepath))
        now = time.time()
        told = EventKind.ACCEPTED if data.accepted else EventKind.DISMISSED
        events = []
        for kind in (EventKind.SHOWN, told):
            accepted = kind is EventKind.ACCEPTED
            event = SuggestionEvent(
                f"continue/{name}/{kind}",
                kind,
                now,
                suggested,
                self.name,
                choice=0,
                part=Part.FULL if accepted else None,
                chars=len(data.completion) if accepted and data.completion is not None else None,
            )
            events.append(event)
        await self._suggestions.report(events, caller)

    def _find(self, data: AutocompleteData, caller: Caller) -> str | None:
        """Our id of it. Continue lays out prompts itself for most providers: `prompt` has those."""
        if not (data.completion and data.completion.strip()):
            return None
        for prefix, suffix in ((data.prefix, data.suffix or ""), (data.prompt, "")):
            if prefix is not None:
                found = self._suggestions.find(caller, prefix, suffix, data.completion)
                if found:
                    return found
        return None
