"""The reader of checkpoints: what it reads, and that nothing malformed gets past it by accident."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy", reason="extra 'cpu' is not installed")

from server.engines.llama_shape import LlamaShape  # noqa: E402
from server.engines.safetensors import Checkpoint  # noqa: E402
from tabwright.errors import ConfigError, CorruptArtifact  # noqa: E402
from tests.fakes.tiny_artifact import write_safetensors  # noqa: E402

ENTRY = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
}


def write(path: Path, header: object, body: bytes = bytes(24)) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


@pytest.mark.parametrize(("dtype", "tolerance"), [("F32", 0), ("F16", 1e-3), ("BF16", 1e-2)])
def test_values_come_back_as_they_were_written(
    tmp_path: Path, dtype: str, tolerance: float
) -> None:
    values = np.random.default_rng(1).standard_normal((5, 7)).astype(np.float32)
    write_safetensors(tmp_path / "a.safetensors", {"w": values, "v": values[0]}, dtype)
    checkpoint = Checkpoint.open([tmp_path / "a.safetensors"])
    assert np.allclose(checkpoint.get("w", (5, 7)).floats(), values, rtol=tolerance)
    assert np.allclose(checkpoint.get("v", (7,)).floats(), values[0], rtol=tolerance)


def test_tensors_of_several_files_are_one_checkpoint(tmp_path: Path) -> None:
    ones = np.ones((1, 2), dtype=np.float32)
    write_safetensors(tmp_path / "a.safetensors", {"a": ones})
    write_safetensors(tmp_path / "b.safetensors", {"b": ones})
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    checkpoint = Checkpoint.open(files)
    assert "a" in checkpoint
    assert "b" in checkpoint
    with pytest.raises(CorruptArtifact, match="stands in another file"):
        Checkpoint.open([*files, files[0]])


@pytest.mark.parametrize(
    "header",
    [
        b"not json",
        b"[" * 100_000,
        b"\xff\xfe",
        [1, 2],
        {"w": 5},
        {"w": ENTRY | {"shape": None}},
        {"w": ENTRY | {"shape": [-2, -3]}},
        {"w": ENTRY | {"shape": [2, 4]}},
        {"w": ENTRY | {"shape": [1e400, 1]}},
        {"w": ENTRY | {"data_offsets": [8, 32]}},
        {"w": ENTRY | {"data_offsets": [-24, 0]}},
        {"w": ENTRY | {"data_offsets": [24, 0]}},
        {"w": ENTRY | {"data_offsets": [0]}},
    ],
    ids=lambda header: str(header)[:40],
)
def test_a_header_that_does_not_describe_its_file_is_refused(
    tmp_path: Path, header: object
) -> None:
    with pytest.raises(CorruptArtifact):
        Checkpoint.open([write(tmp_path / "w.safetensors", header)])


@pytest.mark.parametrize("data", [b"", b"\x01", struct.pack("<Q", 2**63), bytes(8)])
def test_a_file_shorter_than_it_says_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(data)
    with pytest.raises(CorruptArtifact):
        Checkpoint.open([tmp_path / "w.safetensors"])


def test_a_type_that_is_not_read_is_refused_by_name(tmp_path: Path) -> None:
    file = write(tmp_path / "w.safetensors", {"w": ENTRY | {"dtype": "F8_E4M3"}})
    with pytest.raises(ConfigError, match="F8_E4M3"):
        Checkpoint.open([file])


def test_a_tensor_that_is_missing_or_misshapen_is_refused_by_name(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open([write(tmp_path / "w.safetensors", {"w": ENTRY})])
    with pytest.raises(ConfigError, match="lacks the tensor 'v'"):
        checkpoint.get("v", (2, 3))
    with pytest.raises(ConfigError, match="'w' has shape"):
        checkpoint.get("w", (3, 2))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_never_raises_anything_else(
    tmp_path: Path, position: int, mask: int
) -> None:
    file = write(tmp_path / "w.safetensors", {"w": ENTRY, "__metadata__": {"format": "pt"}})
    data = bytearray(file.read_bytes())
    data[position % len(data)] ^= mask
    file.write_bytes(data)
    try:
        for tensor in Checkpoint.open([file]).tensors.values():
            tensor.floats()
    except (CorruptArtifact, ConfigError):
        pass


@pytest.mark.parametrize(
    "change",
    [
        {"architectures": ["MambaForCausalLM"]},
        {"architectures": None},
        {"architectures": 5},
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}},
        {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}},
        {"rope_theta": 0},
        {"hidden_act": "gelu"},
        {"use_sliding_window": True},
        {"num_attention_heads": 0},
        {"num_attention_heads": "many"},
        {"num_key_value_heads": 3},
        {"num_hidden_layers": -1},
        {"head_dim": 7},
        {"rms_norm_eps": None},
    ],
    ids=str,
)
def test_a_model_that_is_not_covered_is_refused(change: dict[str, Any]) -> None:
    assert LlamaShape.read(CONFIG).head_dim == 8
    with pytest.raises(ConfigError):
        LlamaShape.read(CONFIG | change)


@pytest.mark.parametrize(
    "settings_of_rope",
    [
        {"rope_theta": 5e5},
        {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}},
        {"rope_theta": 1.0, "rope_parameters": {"rope_theta": 5e5}},
    ],
    ids=str,
)
def test_the_rotary_base_is_found_where_it_stands(settings_of_rope: dict[str, Any]) -> None:
    assert LlamaShape.read(CONFIG | settings_of_rope).rope_theta == 5e5
