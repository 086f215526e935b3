"""The table of engines. Adding one is adding a row and running the contract suite on it.

A row names a function `create(artifact, **options)` that returns the engine as an async context
manager; inside the block it answers. Modules are imported when an engine is asked for, so that a
gateway without the `cpu` extra can still run the others.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from importlib import import_module

from tabwright.artifact import ModelArtifact
from tabwright.engine import CompletionEngine
from tabwright.errors import ConfigError

ENGINES = {
    "scripted": "server.engines.scripted:create",
    "cpu": "server.engines.cpu:create",
    "triton": "server.engines.triton:create",
}


def load_engine(
    name: str, artifact: ModelArtifact, **options: object
) -> AbstractAsyncContextManager[CompletionEngine]:
    """Make the engine `name` for `artifact`; entering the result starts it, leaving it ends it.

    Raises:
        ConfigError: no such engine, or an option that it does not have.
        MissingExtra: its packages are not installed.
    """
    if name not in ENGINES:
        raise ConfigError(f"unknown engine {name!r}; known: {', '.join(ENGINES)}")
    module, _, attribute = ENGINES[name].partition(":")
    try:
        engine: AbstractAsyncContextManager[CompletionEngine] = getattr(
            import_module(module), attribute
        )(artifact, **options)
    except TypeError as error:
        raise ConfigError(f"engine {name!r}: {error}") from error
    return engine
