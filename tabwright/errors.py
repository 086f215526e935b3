"""Every error this platform raises on purpose, as one tree.

    TabwrightError
    ├─ CallerError   the caller can fix it    InvalidRequest UnknownLanguage UnknownModel
    │                                         ConfigError
    ├─ Busy          try again later          RateLimited EngineOverloaded DeadlineExceeded
    ├─ Unavailable   an operator must act     EngineUnavailable MissingExtra
    │                                         EnvironmentMissing RunStopped
    └─ Broken        our bug or corrupt data  EngineFailed CorruptArtifact ValidationFailed

The branch says who must act. `server/app.py` maps a branch to a status, `tabwright/cli.py` to an
exit code, and nothing else does. Packages add leaves, never branches. A cancelled request is not an
error and is not here.
"""

from __future__ import annotations


class TabwrightError(Exception):
    """Base of the tree. `retryable` says whether the same call may succeed later."""

    retryable = False


class CallerError(TabwrightError):
    """The caller can fix it."""


class InvalidRequest(CallerError):
    """A field of the request has a value that cannot be served.

    The message names the field, the value (its middle left out where it is long: a path tells most
    at its end) and the fix.
    """

    def __init__(self, field: str, value: object, fix: str) -> None:
        shown = repr(value)
        if len(shown) > 80:
            shown = f"{shown[:38]}...{shown[-39:]}"
        super().__init__(f"{field}: {shown} is not valid; {fix}")
        self.field = field
        self.fix = fix


class UnknownLanguage(CallerError):
    """No row of the languages table has this name."""


class UnknownModel(CallerError):
    """The request names a model that this gateway does not serve."""


class ConfigError(CallerError):
    """A configuration file, variable or flag has a wrong value; the program refuses to start."""


class Busy(TabwrightError):
    """Try again later."""

    retryable = True

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimited(Busy):
    """This caller sent more than its share."""


class EngineOverloaded(Busy):
    """All slots and the waiting line of the engine are taken."""


class DeadlineExceeded(Busy):
    """The request's deadline passed before it was answered."""


class Unavailable(TabwrightError):
    """An operator must act, or a restart is under way."""

    retryable = True


class EngineUnavailable(Unavailable):
    """The engine is starting, restarting or gone."""


class MissingExtra(Unavailable):
    """An optional dependency is not installed; the message has the install line."""

    retryable = False

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is not installed; run: pip install 'tabwright[{extra}]'")


class EnvironmentMissing(Unavailable):
    """Programs that run beside ours, in an environment of their own, could not be installed."""

    retryable = False


class RunStopped(Unavailable):
    """A training run ended before its last step; somebody must look before it goes on."""

    retryable = False


class Broken(TabwrightError):
    """Our bug, or corrupt data."""


class EngineFailed(Broken):
    """The engine died or answered nonsense while this request was running. Retrying is safe."""

    retryable = True


class CorruptArtifact(Broken):
    """A model folder is incomplete, altered or of another schema version."""


class ValidationFailed(Broken):
    """An exported model is not the model that it was made of."""
