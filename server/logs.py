"""Log lines on stderr: time, level, logger, message, and the fields of `extra` as key=value."""

from __future__ import annotations

import logging

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class FieldFormatter(logging.Formatter):
    """Appends what a log call gave as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        fields = [f"{k}={v}" for k, v in vars(record).items() if k not in _STANDARD]
        head, newline, trace = super().format(record).partition("\n")
        return " ".join([head, *fields]) + newline + trace


def log_to_stderr(level: str) -> None:
    """Send everything from `level` on to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(FieldFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # uvicorn tells its own starts and stops; what matters of them is printed by the command.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
