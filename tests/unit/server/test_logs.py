"""Log lines carry the fields that a call gave, and a trace stays below its line."""

from __future__ import annotations

import logging
import sys

from server.logs import FieldFormatter


def line(**fields: object) -> str:
    record = logging.makeLogRecord({"msg": "request done", "levelname": "INFO", **fields})
    return FieldFormatter("%(levelname)s %(message)s").format(record)


def test_fields_follow_the_message() -> None:
    assert line(request_id="cmpl-1", tokens=3) == "INFO request done request_id=cmpl-1 tokens=3"
    assert line() == "INFO request done"


def test_fields_stand_before_the_trace() -> None:
    try:
        raise ValueError("boom")
    except ValueError:
        shown = line(exc_info=sys.exc_info(), code="x")
    first, _, rest = shown.partition("\n")
    assert first == "INFO request done code=x"
    assert rest.endswith("ValueError: boom")
