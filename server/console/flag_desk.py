"""Flags over HTTP: all of them, the history of one, and changes like those of `tabwright ab flags`.

A change names the revision it was made against, so nobody overwrites what they have not seen, and
says why. Who made it is taken from the key and cannot be chosen. Read `FlagDesk.change` first.
"""

from __future__ import annotations

import json
import time
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from ab import definition
from ab.errors import InvalidFlag, StaleRevision, UnknownFlag
from ab.flags import moves_users
from ab.offers import LIVE_S, check
from ab.store import Store, Version
from server.caller import Caller
from server.event_stream import JsonResponse
from server.flag_watch import FlagWatch
from server.gateway import Call, read_wire


class FlagChange(BaseModel):
    """Fields of a flag's definition that get another value; null takes a field away."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    revision: StrictInt = Field(ge=0)
    why: StrictStr = Field(min_length=1, max_length=500)
    change: dict[str, Any] = Field(max_length=20)
    reshuffle: StrictBool = False


class FlagDesk:
    """Answers about flags, and takes changes."""

    def __init__(self, flags: FlagWatch) -> None:
        """Work on the store that `flags` follows."""
        self._flags = flags

    async def list(self, call: Call) -> JsonResponse:
        """Tell all flags, as the store has them now."""
        del call
        versions = await self._flags.consult(lambda store: store.flags())
        return JsonResponse({"flags": [definition.describe(v) for v in versions.values()]})

    async def history(self, call: Call) -> JsonResponse:
        """Tell all versions of a flag, oldest first."""
        key = call.path_params["key"]
        versions = await self._flags.consult(lambda store: store.history(key))
        if not versions:
            raise UnknownFlag(f"no flag {key[:100]!r}; GET /v1/admin/flags tells all")
        return JsonResponse({"versions": [definition.describe(version) for version in versions]})

    async def change(self, call: Call) -> JsonResponse:
        """Write a flag with some fields changed, if its revision is the one that was read."""
        key, wanted = call.path_params["key"], read_wire(FlagChange, call.body)
        who = signature(call.caller)
        written = await self._flags.consult(lambda store: _write(store, key, wanted, who))
        return JsonResponse(definition.describe(written))


def signature(caller: Caller) -> str:
    """Name who makes a change: the key, which one has to have, and the person, who is only said."""
    if not caller.key:
        return f"{caller.user or 'somebody'} (no key, from this machine)"
    person = f"{caller.user}, by " if caller.user not in ("", caller.holder) else ""
    return f"{person}{caller.holder} (key {caller.key})"


def _write(store: Store, key: str, wanted: FlagChange, who: str) -> Version:
    before = store.flags().get(key)
    if before is not None and before.revision != wanted.revision:
        raise StaleRevision(
            f"{key}: {before.who} wrote revision {before.revision} since revision "
            f"{wanted.revision} was read; look at it, and send your change again"
        )
    if before is None and wanted.revision == 0:
        fields: dict[str, Any] = {"enabled": True}
    elif before is None:
        raise UnknownFlag(f"no flag {key[:100]!r}; a new one has the revision 0")
    else:
        fields = json.loads(definition.to_json(before.flag))
    fields = {name: v for name, v in (fields | wanted.change).items() if v is not None}
    flag = definition.from_json(key, json.dumps(fields))
    if before and moves_users(before.flag.rollout, flag.rollout) and not wanted.reshuffle:
        shown = [arm.variant for arm in flag.rollout.arms] if flag.rollout else []
        raise InvalidFlag("rollout.arms", shown, "this moves users who are in; say reshuffle")
    if flag.enabled:
        check(flag, store.gateways(time.time() - LIVE_S).values())
    return store.put(flag, wanted.revision, time.time(), who, wanted.why)
