"""The cache of converted models: safetensors in, an OpenVINO IR folder out, once per checkpoint.

A folder is named after the digest of the artifact, the weight format and the version of the writer,
and appears whole or not at all; it may be deleted at any time. What the graph looks like is
`llama_graph.py`'s. Read `ensure_ir` first.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import time
from pathlib import Path

from server.engines.cpu_settings import WeightFormat
from tabwright.errors import CorruptArtifact

WRITER_VERSION = 2  # raise it whenever the same checkpoint would give another graph
MODEL_FILE = "openvino_model.xml"
_log = logging.getLogger(__name__)


def ir_folder(cache_dir: Path | None, digest: str, form: WeightFormat) -> Path:
    """Where the IR of an artifact lies, whether or not it has been written."""
    if cache_dir is None:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache_dir = Path(base) / "tabwright" / "ir"
    return cache_dir / f"{digest[:24]}-{form}-v{WRITER_VERSION}"


def ensure_ir(checkpoint: Path, folder: Path, form: WeightFormat) -> float:
    """Write the IR of `checkpoint` to `folder` unless it is there; return the seconds it took.

    Raises:
        ConfigError: the model is of a kind that the writer does not cover.
        CorruptArtifact: the checkpoint cannot be read.
    """
    if folder.is_dir():
        return 0.0
    started = time.perf_counter()
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(checkpoint, work, form)
        try:
            work.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster, with the same result
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    seconds = time.perf_counter() - started
    _log.info("model converted", extra={"folder": folder.name, "seconds": round(seconds, 2)})
    return seconds


def _write(checkpoint: Path, work: Path, form: WeightFormat) -> None:
    import openvino as ov

    from server.engines.llama_graph import build_graph
    from server.engines.safetensors import Checkpoint

    try:
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptArtifact(f"config.json: {error}") from error
    weights = Checkpoint.open(sorted(checkpoint.glob("*.safetensors")))
    model = build_graph(config, weights, form)
    ov.save_model(model, work / MODEL_FILE, compress_to_fp16=False)
    for file in work.iterdir():  # a rename must not outlive a power cut that its contents do not
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
