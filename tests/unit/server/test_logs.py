"""Log lines carry their fields and their request, and never what an exception quotes."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator

import pytest
from pydantic import BaseModel

from server.logs import REQUEST_ID, FieldFormatter, JsonFormatter
from tabwright.errors import EngineFailed, InvalidRequest, TabwrightError

SECRET = "SECRET_IDENTIFIER"


@pytest.fixture(autouse=True)
def _at_info() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    yield
    root.setLevel(before)


def record(**fields: object) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": "request done", "levelname": "INFO", **fields})


def text(**fields: object) -> str:
    return FieldFormatter("%(levelname)s %(message)s").format(record(**fields))


def parsed(**fields: object) -> dict[str, object]:
    line = JsonFormatter().format(record(**fields))
    assert "\n" not in line
    body: dict[str, object] = json.loads(line)
    return body


def raised(error: BaseException) -> dict[str, object]:
    try:
        raise error
    except BaseException:  # noqa: BLE001
        return {"exc_info": sys.exc_info()}


def quoting() -> list[BaseException]:
    """Exceptions that say what they choked on, as libraries and our own bugs do."""

    class Wire(BaseModel):
        prompt: int

    def validation() -> None:
        Wire.model_validate({"prompt": SECRET})

    def chained() -> None:
        try:
            known: dict[str, int] = {}
            known[SECRET]
        except KeyError as cause:
            raise RuntimeError(SECRET) from cause

    def grouped() -> None:
        raise ExceptionGroup(SECRET, [ValueError(SECRET), TypeError(SECRET)])

    found: list[BaseException] = [InvalidRequest("prompt", SECRET, "give less")]
    for act in (validation, chained, grouped):
        try:
            act()
        except Exception as error:  # noqa: BLE001
            found.append(error)
    noted = ValueError("x")
    noted.add_note(SECRET)
    return [*found, noted, AssertionError(SECRET)]


def test_fields_follow_the_message() -> None:
    assert text(request_id="cmpl-1", tokens=3) == "INFO request done request_id=cmpl-1 tokens=3"
    assert text() == "INFO request done"


def test_a_json_line_has_time_level_logger_message_and_fields() -> None:
    body = parsed(name="server.access", tokens=3, created=0.0)
    assert body == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "info",
        "logger": "server.access",
        "message": "request done",
        "tokens": 3,
    }


def as_json(**fields: object) -> str:
    return json.dumps(parsed(**fields))


@pytest.mark.parametrize("render", [text, as_json])
def test_a_line_inside_a_request_names_it(render: Callable[..., str]) -> None:
    token = REQUEST_ID.set("cmpl-7")
    try:
        assert "cmpl-7" in render()
        assert "cmpl-8" in render(request_id="cmpl-8")
    finally:
        REQUEST_ID.reset(token)
    assert "request_id" not in render()


@pytest.mark.parametrize("error", quoting(), ids=lambda error: type(error).__name__)
def test_a_trace_shows_where_and_never_what_was_quoted(error: BaseException) -> None:
    for shown in (text(**raised(error)), json.dumps(parsed(**raised(error)))):
        assert SECRET not in shown
        assert type(error).__name__ in shown
        assert "test_logs.py" in shown


@pytest.mark.parametrize("error", [EngineFailed("worker 3 died"), OSError(24, "Too many files")])
def test_a_message_of_ours_or_of_the_system_is_shown(error: Exception) -> None:
    assert str(error) in text(**raised(error))
    assert isinstance(error, TabwrightError | OSError)


def test_a_trace_stands_below_its_line_and_tells_the_cause_first() -> None:
    error = quoting()[2]
    first, *rest = text(exc_info=(type(error), error, error.__traceback__), code="x").split("\n")
    assert first == "INFO request done code=x"
    kinds = [row for row in rest if not row.startswith(" ")]
    assert kinds == ["KeyError", "which led to", "RuntimeError"]


def test_what_asyncio_says_of_a_lost_task_is_cut_to_its_first_line() -> None:
    message = f"Task exception was never retrieved\nfuture: <Task exception=ValueError({SECRET!r})>"
    for shown in (text(name="asyncio", msg=message), str(parsed(name="asyncio", msg=message))):
        assert SECRET not in shown
        assert "never retrieved" in shown


def test_at_debug_messages_are_whole() -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    assert "ValueError: boom" in text(**raised(ValueError("boom")))
