"""Writes the Dockerfiles of sandboxes/: `python -m tests.repository.dockerfiles`."""

from __future__ import annotations

from pathlib import Path

from evalkit.runtimes import Runtime, load_runtime, runtime_names

_HEAD = """\
# Written by `python -m tests.repository.dockerfiles` from runtime.toml.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
"""
_DEBIAN = """\
RUN apt-get update -q \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \\
      %packages% \\
 && rm -rf /var/lib/apt/lists/*
"""
_NPM = "RUN npm install --global --no-audit --no-fund %packages%\n"
_TAIL = """\
RUN useradd --uid 1000 --create-home sandbox
USER 1000:1000
WORKDIR /box
"""


def render(runtime: Runtime) -> str:
    """The Dockerfile of one language."""
    row = runtime.toolchain
    text = _HEAD + _DEBIAN.replace(
        "%packages%", " ".join([*row.debian, *(["npm"] if row.npm else [])])
    )
    if row.npm:
        text += _NPM.replace("%packages%", " ".join(row.npm))
    return text + _TAIL


def dockerfile(runtime: Runtime) -> Path:
    """Where it stands."""
    return runtime.folder / "Dockerfile"


if __name__ == "__main__":
    for name in runtime_names():
        dockerfile(load_runtime(name)).write_text(render(load_runtime(name)), encoding="utf-8")
