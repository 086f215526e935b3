"""The sentinels that the rows of a run are laid out with."""

from __future__ import annotations

from tabwright.fim import FAMILIES, FimFormat, Order
from tabwright.tokenizer import Tokenizer


def bind_family(name: str, tokenizer: Tokenizer) -> FimFormat:
    """Bind a FIM family, suffix first where it was made for that.

    Raises:
        ConfigError: no such family, or the tokenizer lacks one of its sentinels.
    """
    suffix_first = name in FAMILIES and Order.SPM in FAMILIES[name].layouts
    return FimFormat.bind(name, tokenizer, Order.SPM.value if suffix_first else None)
