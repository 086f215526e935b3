"""The routes of the console: its page for everybody, and what the page asks for, by key.

    GET /console, /console/{name}   the page; nothing of a setting or a request is in it
    GET /v1/session                 who asks, what the key is good for, which languages there are
    /v1/admin/...                   what takes the scope `admin`: flags, reports, models, metrics

Nothing here shows what anybody typed. Read `Console.routes` first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.types import ASGIApp

from server.caller import KeyScope
from server.console.experiments import Experiments
from server.console.flag_desk import FlagChange, FlagDesk
from server.console.live_numbers import live_numbers
from server.console.model_cards import ModelCards
from server.console.page_files import MEDIA_TYPES, START, read_page
from server.event_stream import PROBLEM_JSON, JsonResponse, Problem, problem_details
from server.gateway import Call, Gateway, Route
from tabwright.errors import CallerError
from tabwright.languages import languages


class UnknownPage(CallerError):
    """The console has no such file."""


class Console:
    """Serves the page, and what it asks for."""

    name = "console"
    error_type = PROBLEM_JSON

    def __init__(self, gateway: Gateway) -> None:
        """Serve with the parts of `gateway`."""
        self._gateway = gateway
        self._page = read_page()
        self._flags = FlagDesk(gateway.flags)
        self._models = ModelCards(gateway.completer.models, gateway.flags, gateway.settings.evals)
        self._experiments = Experiments(gateway.flags, gateway.settings.store)

    def routes(self) -> Sequence[Route]:
        """The paths it answers."""
        media = tuple(MEDIA_TYPES.values())
        return (
            Route("GET", "/console", self.start, public=True, answers=("text/html",)),
            Route("GET", "/console/{name}", self.file, public=True, answers=media),
            Route("GET", "/v1/session", self.session),
            Route("GET", "/v1/admin/live", self.live, scope=KeyScope.ADMIN),
            Route("GET", "/v1/admin/models", self._models.list, scope=KeyScope.ADMIN),
            Route("GET", "/v1/admin/report", self._experiments.report, scope=KeyScope.ADMIN),
            Route("GET", "/v1/admin/decisions", self._experiments.decisions, scope=KeyScope.ADMIN),
            Route("GET", "/v1/admin/flags", self._flags.list, scope=KeyScope.ADMIN),
            Route("GET", "/v1/admin/flags/{key}", self._flags.history, scope=KeyScope.ADMIN),
            Route(
                "POST",
                "/v1/admin/flags/{key}",
                self._flags.change,
                wire=FlagChange,
                scope=KeyScope.ADMIN,
            ),
        )

    def error_body(self, problem: Problem) -> Mapping[str, Any]:
        """Problem details."""
        return problem_details(problem)

    async def start(self, call: Call) -> ASGIApp:
        """Send the page."""
        del call
        return self._page[START]

    async def file(self, call: Call) -> ASGIApp:
        """Send a file of the page."""
        name = call.path_params["name"]
        if name not in self._page:
            raise UnknownPage(f"the console has no file {name[:80]!r}; it begins at /console")
        return self._page[name]

    async def session(self, call: Call) -> JsonResponse:
        """Say who asks, and what there is to choose from."""
        caller = call.caller
        return JsonResponse(
            {
                "holder": caller.holder,
                "user": caller.user,
                "scopes": sorted(caller.scopes),
                "models": list(self._gateway.completer.models.models),
                "languages": [
                    {"name": language.name, "extension": (*language.extensions, "")[0]}
                    for language in languages()
                ],
            }
        )

    async def live(self, call: Call) -> JsonResponse:
        """Tell what was counted so far, in all processes of this gateway."""
        del call
        return JsonResponse(await live_numbers(self._gateway.reception.metrics))
