"""Conversations as examples: what the assistant says is learnt, what it is told is not.

Two kinds of JSON lines are read: `{"instruction", "input", "output"}` as in Alpaca (`input` may be
left out), and `{"messages": [{"role", "content"}, ...]}` with the roles system, user and assistant.
The template is made of sentinels of our vocabulary: each turn is its role's token, its text and the
end of the turn, and the last is followed by the end of text. Read `read_conversations`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from tabwright.errors import ConfigError
from tabwright.tokenizer import Tokenizer
from training.examples.example import Example
from training.examples.sentinels import Role, Sentinels


class Turn(NamedTuple):
    """What one of the roles says."""

    role: Role
    text: str


class _Message(BaseModel):
    role: Role
    content: str


class _Chat(BaseModel):
    messages: Annotated[list[_Message], Field(min_length=1)]


class _Alpaca(BaseModel):
    instruction: str
    input: str = ""
    output: str


def read_conversations(path: Path) -> Iterator[list[Turn]]:
    """Yield the turns of every line.

    Raises:
        ConfigError: the file cannot be read, or a line is none of the two kinds; it is named.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _turns(line, f"{path}: line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"data.instructions: {path}: {error}") from error


def conversation(
    turns: Sequence[Turn], tokenizer: Tokenizer, sentinels: Sentinels, end: int, room: int
) -> Example | None:
    """Lay out the turns that fit into `room`; None without an answer among them."""
    ids: list[int] = []
    silent: list[tuple[int, int]] = []
    answered = 0
    pieces = 0
    for turn in turns:
        said = [*tokenizer.encode(turn.text), sentinels.turn_end]
        if len(ids) + 1 + len(said) + 1 > room:
            break
        start = len(ids)
        ids += [sentinels.roles[turn.role], *said]
        learnt = turn.role is Role.ASSISTANT
        silent.append((start, start + 1 if learnt else len(ids)))
        if learnt:
            answered, pieces = len(ids), len(silent)
    if not answered:
        return None
    # Questions after the last answer teach nothing.
    return Example([*ids[:answered], end], (*silent[:pieces], (answered, answered + 1)))


def _turns(line: str, place: str) -> list[Turn]:
    try:
        given = json.loads(line)
        if isinstance(given, dict) and "messages" in given:
            chat = _Chat.model_validate(given)
            return [Turn(message.role, message.content) for message in chat.messages]
        alpaca = _Alpaca.model_validate(given)
    except ValidationError as error:
        rows = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{place}: {rows}") from None
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None
    asked = f"{alpaca.instruction}\n\n{alpaca.input}" if alpaca.input else alpaca.instruction
    return [Turn(Role.USER, asked), Turn(Role.ASSISTANT, alpaca.output)]
