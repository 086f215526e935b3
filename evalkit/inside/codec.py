"""Plain values of exact types as JSON and back; stands at the start of both programs.

A value that is not exactly one of these types, or that nests too deep, is refused: a subclass of
int may equal everything.
"""

import json
import os
import struct
from typing import Any, BinaryIO

_SEQUENCES: dict[type, str] = {list: "l", tuple: "t", set: "s", frozenset: "z"}
_KINDS: dict[str, Any] = {tag: kind for kind, tag in _SEQUENCES.items()}
_DEPTH = 200


def encode(value: object, depth: int = 0) -> Any:
    """Tag a plain value. Raises TypeError for any other, ValueError where it nests too deep."""
    kind = type(value)
    if depth > _DEPTH:
        raise ValueError("too deep")
    if value is None or kind is bool or kind is str:
        return value
    if type(value) is int:
        return {"i": hex(value)}
    if type(value) is float:
        return {"f": value.hex()}
    if type(value) is complex:
        return {"c": [value.real.hex(), value.imag.hex()]}
    if type(value) is bytes:
        return {"b": value.hex()}
    if type(value) is dict:
        return {"d": [[encode(k, depth + 1), encode(v, depth + 1)] for k, v in value.items()]}
    if kind in _SEQUENCES:
        items: Any = value
        return {_SEQUENCES[kind]: [encode(v, depth + 1) for v in items]}
    raise TypeError(f"a {kind.__name__} is no plain value")


def decode(value: Any) -> Any:
    """Undo `encode`. Raises one of several errors for what `encode` does not make."""
    if value is None or type(value) in (bool, str):
        return value
    ((tag, inner),) = value.items()
    if tag == "i":
        return int(inner, 16)
    if tag == "f":
        return float.fromhex(inner)
    if tag == "c":
        return complex(float.fromhex(inner[0]), float.fromhex(inner[1]))
    if tag == "b":
        return bytes.fromhex(inner)
    if tag == "d":
        return {decode(k): decode(v) for k, v in inner}
    return _KINDS[tag](decode(v) for v in inner)


def take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Move stdin and stdout away: what is printed from now on goes to stderr and is no message."""
    read, write = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return read, write


def send(write: BinaryIO, message: object) -> None:
    """Send one message: its length in four bytes, then JSON."""
    raw = json.dumps(message).encode()
    write.write(struct.pack(">I", len(raw)) + raw)
    write.flush()


def receive(read: BinaryIO) -> Any:
    """Receive one message; leave the process when nobody is there any more."""
    return json.loads(receive_raw(read))


def receive_raw(read: BinaryIO) -> bytes:
    """Receive the bytes of one message."""
    head = read.read(4)
    if len(head) < 4:
        os._exit(0)
    return read.read(struct.unpack(">I", head)[0])
