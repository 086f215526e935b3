"""Log lines on stderr, as text or as JSON, without anything that a user typed.

Text: time, level, logger, message, and the fields of `extra` as key=value. JSON: one object a line
with the same. Both name the request they belong to, and neither shows what an exception says unless
it is one whose message is ours: a validation error quotes its input, and so may any bug. Where it
was raised is shown always. With the level `debug` messages are shown whole. Read `log_to_stderr`
first.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from tabwright.errors import CallerError, TabwrightError

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class FieldFormatter(logging.Formatter):
    """Appends what a log call gave as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        shown = logging.makeLogRecord(vars(record) | {"msg": _message(record), "args": None})
        shown.exc_info = shown.exc_text = None
        fields = [f"{key}={value}" for key, value in _fields(record).items()]
        line = " ".join([super().format(shown), *fields])
        return "\n".join([line, *_trace(record)])


class JsonFormatter(logging.Formatter):
    """Makes one JSON object of a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        body: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        body |= _fields(record)
        if trace := _trace(record):
            body["trace"] = trace
        return json.dumps(body, ensure_ascii=False, default=str)


def log_to_stderr(level: str, form: str = "text") -> None:
    """Send everything from `level` on to stderr, a crash of the program included."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else FieldFormatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # uvicorn tells its own starts and stops; what matters of them is printed by the command.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    sys.excepthook = _crashed


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger(__name__).critical("crashed", exc_info=(kind, error, trace))


def _message(record: logging.LogRecord) -> str:
    message = record.getMessage()
    if record.name == "asyncio" and not _debugging():
        return message.partition("\n")[0]  # the rest shows the task and its exception
    return message


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    request_id = fields.pop("request_id", None) or REQUEST_ID.get()
    return {"request_id": request_id} | fields if request_id else fields


def _trace(record: logging.LogRecord) -> list[str]:
    error = record.exc_info[1] if record.exc_info else None
    return list(_told(error, set())) if error else []


def _told(error: BaseException, seen: set[int]) -> Iterator[str]:
    """Tell where an error and what caused it were raised, the cause first."""
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _told(before, seen)
        yield "which led to"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {frame.filename}:{frame.lineno} {frame.name}: {frame.line}"
    name = type(error).__qualname__
    yield f"{name}: {error}" if _is_ours(error) or _debugging() else name
    for part in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        if id(part) not in seen:
            yield from _told(part, seen)


def _is_ours(error: BaseException) -> bool:
    """Whether a message has nothing of a request: what a caller did wrong is quoted to them."""
    ours = isinstance(error, TabwrightError) and not isinstance(error, CallerError)
    return ours or isinstance(error, OSError)


def _debugging() -> bool:
    return logging.getLogger().isEnabledFor(logging.DEBUG)
