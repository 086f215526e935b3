"""Benchmark files by their name on the Hugging Face hub: hf://owner/name[@revision][/file].

The library keeps what it has downloaded and asks HF_ENDPOINT, so a mirror will do. Nothing else of
evalkit reaches a network but the model's server. Read `local_path` first.
"""

from __future__ import annotations

import re
from pathlib import Path

from tabwright.errors import InvalidRequest, MissingExtra, Unavailable

SCHEME = "hf://"
_FORM = re.compile(
    r"hf://(?:datasets/)?(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<file>.+))?"
)


class HubUnreachable(Unavailable):
    """The hub did not answer, and the file has not been downloaded before."""


def local_path(text: str | None) -> Path | None:
    """Give the path that was named, downloaded where it names a data set of the hub.

    Raises:
        InvalidRequest: it is no such name, or the hub has no such data set or file.
        HubUnreachable: the hub cannot be asked.
        MissingExtra: the hub's library is not installed.
    """
    if text is None or not text.startswith(SCHEME):
        return Path(text) if text is not None else None
    found = _FORM.fullmatch(text)
    if found is None:
        raise InvalidRequest("path", text, "give hf://owner/name or hf://owner/name/file")
    return Path(_downloaded(text, found["repo"], found["revision"], found["file"]))


def _downloaded(text: str, repo: str, revision: str | None, file: str | None) -> str:
    try:
        import huggingface_hub as hub
        from huggingface_hub import errors
    except ImportError:
        raise MissingExtra("huggingface_hub", "eval") from None
    try:
        if file is None:
            return hub.snapshot_download(repo, repo_type="dataset", revision=revision)
        return hub.hf_hub_download(repo, file, repo_type="dataset", revision=revision)
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise _unreachable(text, error) from None
    except (
        errors.RepositoryNotFoundError,
        errors.RevisionNotFoundError,
        errors.EntryNotFoundError,
        errors.HFValidationError,
    ) as error:
        raise InvalidRequest("path", text, f"the hub has none: {_first_line(error)}") from None
    except (errors.HfHubHTTPError, OSError) as error:
        raise _unreachable(text, error) from None


def _unreachable(text: str, error: Exception) -> HubUnreachable:
    return HubUnreachable(
        f"{text} cannot be downloaded ({_first_line(error)}); get it elsewhere and give its place "
        "by --path, or name a mirror by HF_ENDPOINT"
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
