"""The filter of `seccomp.py`, said in the words that container engines understand."""

from __future__ import annotations

import json
from typing import Any

from evalkit.sandbox.seccomp import (
    DENIED,
    NEW_NAMESPACES,
    SOCKET_FAMILIES,
    TERMINAL_INJECTION,
)

_NOT_PERMITTED, _NO_SUCH_CALL = 1, 38
_LAST_NAMED_FAMILY = 50


def engine_profile() -> str:
    """Return the profile as JSON. Calls of architectures that it does not name kill."""
    namespaces = [1 << bit for bit in range(32) if NEW_NAMESPACES >> bit & 1]
    families = [n for n in range(_LAST_NAMED_FAMILY + 1) if n and n not in SOCKET_FAMILIES]
    rules = [
        _rule(sorted(DENIED)),
        _rule(["clone3"], error=_NO_SUCH_CALL),
        *(_rule(["clone"], 0, "SCMP_CMP_MASKED_EQ", bit, bit) for bit in namespaces),
        *(_rule(["socket"], 0, "SCMP_CMP_EQ", family) for family in families),
        _rule(["socket"], 0, "SCMP_CMP_GT", _LAST_NAMED_FAMILY),
        *(_rule(["ioctl"], 1, "SCMP_CMP_EQ", request) for request in TERMINAL_INJECTION),
    ]
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": rules,
    }
    return json.dumps(profile)


def _rule(
    names: list[str],
    index: int | None = None,
    comparison: str = "",
    value: int = 0,
    second: int = 0,
    error: int = _NOT_PERMITTED,
) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": error}
    if index is not None:
        rule["args"] = [{"index": index, "value": value, "valueTwo": second, "op": comparison}]
    return rule
