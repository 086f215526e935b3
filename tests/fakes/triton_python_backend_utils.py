"""Triton's side of a Python model, as much of it as ours uses, in this process.

Answers are collected by a sender that a test reads. Like the real one it refuses a metric whose
family is gone, a response after the final one, and a second final one.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1


class Logger:
    """Where the model logs."""

    lines: list[str] = []  # noqa: RUF012

    @classmethod
    def log_error(cls, line: str) -> None:
        cls.lines.append(line)


class Tensor:
    def __init__(self, name: str, values: npt.NDArray[Any]) -> None:
        self.name = name
        self._values = values

    def as_numpy(self) -> npt.NDArray[Any]:
        return self._values


@dataclass
class TritonError:
    text: str

    def message(self) -> str:
        return self.text


@dataclass
class InferenceResponse:
    output_tensors: Sequence[Tensor] = ()
    error: TritonError | None = None

    def value(self, name: str) -> list[Any]:
        [found] = [t for t in self.output_tensors if t.name == name]
        return list(found.as_numpy().tolist())


@dataclass
class Sender:
    """What a client would have got."""

    responses: list[InferenceResponse] = field(default_factory=list)
    final: bool = False
    gone: bool = False

    def send(self, response: InferenceResponse, flags: int = 0) -> None:
        assert not self.final, "nothing may follow the final response"
        self.responses.append(response)
        self.final = flags == TRITONSERVER_RESPONSE_COMPLETE_FINAL

    def is_cancelled(self) -> bool:
        return self.gone


class Request:
    def __init__(self, request_id: str = "", **inputs: npt.NDArray[Any]) -> None:
        self._id = request_id
        self.inputs = inputs
        self.sender = Sender()

    def request_id(self) -> str:
        return self._id

    def get_response_sender(self) -> Sender:
        return self.sender


def get_input_tensor_by_name(request: Request, name: str) -> Tensor | None:
    values = request.inputs.get(name)
    return None if values is None else Tensor(name, values)


class Metric:
    values: dict[str, float] = {}  # noqa: RUF012

    def __init__(self, family: MetricFamily) -> None:
        self._family = weakref.ref(family)

    def _name(self) -> str:
        family = self._family()
        if family is None:
            raise RuntimeError("the metric's family has been deleted")
        return family.name

    def set(self, value: float) -> None:
        self.values[self._name()] = value

    def increment(self, value: float) -> None:
        self.values[self._name()] = self.values.get(self._name(), 0) + value


class MetricFamily:
    GAUGE = "gauge"
    COUNTER = "counter"

    def __init__(self, *, name: str, description: str, kind: str) -> None:
        assert description
        assert kind in (self.GAUGE, self.COUNTER)
        self.name = name

    def Metric(self, *, labels: dict[str, str]) -> Metric:
        assert labels
        return Metric(self)


def ids(*values: int) -> npt.NDArray[Any]:
    return np.array(values, np.int32)
