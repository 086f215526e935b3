"""Control tokens of our vocabularies beyond those that infilling needs, and what they stand for.

A vocabulary reserves `SPARE`; which of them means what is written here only. A vocabulary without
them, such as the bundled model's first one, has next token, FIM and prefix-LM.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tabwright.errors import ConfigError
from tabwright.tokenizer import Tokenizer

SPARE = tuple(f"<|spare_{number}|>" for number in range(32))


class Mode(StrEnum):
    """The paradigms of UL2: regular, sequential and extreme denoising."""

    R = "R"
    S = "S"
    X = "X"


class Role(StrEnum):
    """Who speaks in a conversation."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Ids of the spare tokens by what they mean. marks: places of spans, used in turn."""

    modes: dict[Mode, int]
    target: int
    roles: dict[Role, int]
    turn_end: int
    marks: tuple[int, ...]

    @classmethod
    def bind(cls, tokenizer: Tokenizer, needed_by: str) -> Sentinels:
        """Look all of them up.

        Raises:
            ConfigError: the vocabulary has none; `needed_by` is the option that asks for them.
        """
        found = [tokenizer.token_id(name) for name in SPARE]
        ids = [number for number in found if number is not None]
        if len(ids) < len(SPARE):
            raise ConfigError(
                f"{needed_by}: the vocabulary reserves no {SPARE[0]} to {SPARE[-1]}; "
                "make one with `tabwright train data run`"
            )
        return cls(
            modes=dict(zip(Mode, ids[:3], strict=True)),
            target=ids[3],
            roles=dict(zip(Role, ids[4:7], strict=True)),
            turn_end=ids[7],
            marks=tuple(ids[8:]),
        )
