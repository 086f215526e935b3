"""The file of API keys: JSON lines, one key each, replaced whole or not at all.

Only its owner may read it. Writers take turns by a lock on the folder, so that two commands at once
lose nothing. What a key is: `server.keys`. Read `read_keys` first.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from server.caller import MAX_DELAY_MS, USER_CHARS, KeyScope, Lines
from server.keys import ApiKey
from server.rates import Rate
from tabwright.errors import ConfigError

_MAX_BYTES = 64 << 20


class _Row(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    id: str = Field(pattern=r"^[0-9a-f]{8}$")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    name: str = Field(min_length=1, max_length=USER_CHARS)
    scopes: Annotated[list[KeyScope], Field(min_length=1)]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None
    rate_per_s: float | None = Field(None, gt=0, le=1e6)
    burst: int | None = Field(None, ge=1, le=1_000_000)
    delay_ms: float | None = Field(None, ge=0, le=MAX_DELAY_MS)
    min_confidence: float | None = Field(None, ge=0, le=1)
    lines: Lines | None = None


def read_keys(path: Path) -> list[ApiKey]:
    """Read all keys, in the order they were made.

    Raises:
        ConfigError: the file is missing, or a line of it is wrong; no message shows a line.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"keys_file: {path}: {error.strerror}") from None
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"keys_file: {path}: larger than {_MAX_BYTES} bytes")
    keys: dict[str, ApiKey] = {}
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        key = _parse(path, number, line)
        if key.id in keys:
            raise ConfigError(f"keys_file: {path}, line {number}: id: there are two of {key.id}")
        keys[key.id] = key
    return list(keys.values())


def write_keys(path: Path, keys: Sequence[ApiKey]) -> None:
    """Replace the file, readable by its owner only; after a crash the old or the new one stands.

    Raises:
        ConfigError: it cannot be written.
    """
    lines = "".join(_render(key) + "\n" for key in keys)
    try:
        # Made with mode 0600, in the same folder because a rename may not cross file systems.
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8", delete=False
        ) as file:
            try:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"keys_file: {path}: cannot write: {error.strerror}") from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Keep other writers of this folder out for the length of the block; make the folder.

    Raises:
        ConfigError: the folder cannot be made or opened.
    """
    import fcntl  # not on Windows, where keys can be read but not written

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise ConfigError(f"keys_file: {path}: {error.strerror}") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _parse(path: Path, number: int, line: bytes) -> ApiKey:
    try:
        row = _Row.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        found = f"{place}: {first['msg']}" if place else "not a JSON object"
        raise ConfigError(f"keys_file: {path}, line {number}: {found}") from None
    fields = row.model_dump(exclude={"rate_per_s", "burst", "scopes"})
    rate = None
    if row.rate_per_s is not None:
        rate = Rate.of(row.rate_per_s, row.burst)
    return ApiKey(**fields, scopes=frozenset(row.scopes), rate=rate)


def _render(key: ApiKey) -> str:
    row = _Row(
        id=key.id,
        digest=key.digest,
        name=key.name,
        scopes=sorted(key.scopes),
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        rate_per_s=key.rate.per_s if key.rate else None,
        burst=key.rate.burst if key.rate else None,
        delay_ms=key.delay_ms,
        min_confidence=key.min_confidence,
        lines=key.lines,
    )
    return json.dumps(row.model_dump(mode="json", exclude_none=True), ensure_ascii=False)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
