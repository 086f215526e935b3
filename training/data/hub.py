"""Which commit a data set of the Hugging Face Hub is at: a run reads the same one to its end."""

from __future__ import annotations

from tabwright.errors import ConfigError, MissingExtra


def commit_of(source: str, dataset: str, revision: str) -> str:
    """Ask the hub; a gated data set needs the token of somebody who was let in.

    Raises:
        ConfigError: the hub cannot be reached, or has no such data set or revision.
        MissingExtra: its client is not installed.
    """
    try:
        from huggingface_hub import HfApi
        from huggingface_hub import errors as hub_errors
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "data") from error
    place = f"source {source}: {dataset}@{revision}"
    try:
        found = HfApi().dataset_info(dataset, revision=revision, timeout=30)
    except (hub_errors.HTTPError, OSError, RuntimeError) as error:  # type: ignore[attr-defined]
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"{place} cannot be read from the hub ({reason}); go online, or name downloaded files "
            'with kind = "table"'
        ) from error
    if not found.sha:
        raise ConfigError(f"{place}: the hub names no commit")
    return found.sha
