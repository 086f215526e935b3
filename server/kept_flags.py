"""The last known flags of a store in a file, for a gateway that starts while the store is away.

The file says of which store it is, so flags of another one are never taken for these. It names
people, as overrides do. Not to have it costs nothing but that. Read `KeptFlags.write`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ab import definition
from ab.errors import InvalidFlag
from ab.store import Version

logger = logging.getLogger(__name__)

_NAME = "flags.json"


class KeptFlags:
    """The file in one folder, for one store."""

    def __init__(self, folder: Path, address: str) -> None:
        """Keep flags of the store at `address` in `folder`."""
        self._path = folder / _NAME
        self._store = hashlib.sha256(address.encode()).hexdigest()  # it may have a password

    def write(self, versions: Mapping[str, Version]) -> None:
        """Put flags in the place of those that are kept; that it fails is only logged."""
        body = {
            "store": self._store,
            "flags": [definition.write(version) for version in versions.values()],
        }
        part = self._path.with_suffix(f".{os.getpid()}.part")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                part.touch(0o600)
                with part.open("w", encoding="utf-8") as file:
                    json.dump(body, file)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(part, self._path)
            finally:
                with suppress(FileNotFoundError):
                    part.unlink()
        except OSError as error:
            logger.warning("flags are not kept on the disk: %s", error.strerror or error)

    def read(self) -> Mapping[str, Version]:
        """Flags as they were known last; none if there are none of this store."""
        try:
            body = json.loads(self._path.read_bytes())
            if body["store"] != self._store:
                logger.warning("the flags that are kept are another store's: %s", self._path)
                return {}
            versions = [definition.read(text) for text in body["flags"]]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, InvalidFlag) as error:
            logger.error("the flags that are kept cannot be read: %s: %r", self._path, error)
            return {}
        return {version.flag.key: version for version in versions}
