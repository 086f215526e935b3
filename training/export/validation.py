"""Every check of an export, in the order in which they run, and the level that they give.

1 description  2 yaml  3 tokenizer, logits, config, the container's transformers  4 json, tensors
5 quantising (`quantize.py`)  6 a real Triton (the tests)  7 signatures (`smoke_gpu.py`)
8 manifest (`manifest.py`)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from training.export.checks import check_config, check_logits, check_tokenizer
from training.export.container_checks import check_container_reader
from training.export.finished import Finished
from training.export.folder_checks import (
    check_description,
    check_json,
    check_tensors,
    check_yaml,
)

Check = Callable[[Finished], dict[str, Any]]
CHECKS: tuple[Check, ...] = (
    check_description,
    check_yaml,
    check_json,
    check_tensors,
    check_tokenizer,
    check_logits,
    check_config,
)


def run_checks(export: Finished) -> list[dict[str, Any]]:
    """Run all of them, the container's transformers where there is a reader.

    Raises:
        ValidationFailed: one of them found a fault.
    """
    with_reader = (*CHECKS, check_container_reader) if export.reader else CHECKS
    return [check(export) for check in with_reader]
