"""Build the OpenVINO graph of a Llama-shaped decoder out of its checkpoint.

The shape of the graph is the one that OpenVINO's paged-attention rewrite recognises: one stateful
key and value per layer, grouped heads broadcast before `scaled_dot_product_attention`. Covered:
Llama and Qwen2 (biases are taken where the checkpoint has them), tied or separate output matrix.
Not covered, and refused: scaled rotary embeddings, sliding windows, other activations, mixtures of
experts. Where the files lie and how the result is cached is `ir.py`'s. Read `build_graph` first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset15 as op
from openvino import Node, Output
from openvino.op import Constant
from openvino.op.util import Variable, VariableInfo

from server.engines.cpu_settings import WeightFormat
from server.engines.llama_shape import LlamaShape
from server.engines.safetensors import Bytes, Checkpoint, Floats, StoredTensor
from tabwright.errors import ConfigError

_MASKED = -65504.0  # the lowest float16, so that a half-precision plug-in keeps it finite


def build_graph(config: Mapping[str, Any], weights: Checkpoint, form: WeightFormat) -> ov.Model:
    """Return the decoder as an OpenVINO model with inputs of ids, mask, positions and beams.

    The graph may refer to the mapped files of `weights`: save it before they change.

    Raises:
        ConfigError: an architecture that is not covered; tensors missing, left over or misshapen.
    """
    builder = _Builder(LlamaShape.read(config), weights, form)
    model = builder.model()
    builder.refuse_leftovers()
    return model


class _Builder:
    """Makes nodes; knows which tensors were taken so far."""

    def __init__(self, shape: LlamaShape, weights: Checkpoint, form: WeightFormat) -> None:
        self.shape = shape
        self.weights = weights
        self.form = form
        self.taken: set[str] = set()
        self.sinks: list[Node] = []
        self.variables: list[Variable] = []

    def model(self) -> ov.Model:
        ids = _input("input_ids", ov.Type.i64, [-1, -1])
        mask = _input("attention_mask", ov.Type.i64, [-1, -1])
        positions = _input("position_ids", ov.Type.i64, [-1, -1])
        beams = _input("beam_idx", ov.Type.i32, [-1])
        table = self.matrix(["model.embed_tokens"], [self.shape.vocab], self.shape.width)
        hidden = op.gather(table, op.convert(ids, "i32"), _i32(0))
        rotary = self.rotary(positions)
        bias = _attention_bias(mask, positions)
        for layer in range(self.shape.layers):
            hidden = self.layer(f"model.layers.{layer}", hidden, rotary, bias, beams)
        hidden = self.norm("model.norm.weight", hidden)
        if not self.shape.tied:
            table = self.matrix(["lm_head"], [self.shape.vocab], self.shape.width)
        elif "lm_head.weight" in self.weights:
            self.taken.add("lm_head.weight")  # some exporters write the tied matrix twice
        logits = op.matmul(hidden, table, False, True)
        logits.output(0).set_names({"logits"})
        result = op.result(logits)
        return ov.Model(
            [result], self.sinks, [ids, mask, positions, beams], self.variables, "decoder"
        )

    def refuse_leftovers(self) -> None:
        left = sorted(
            n
            for n in set(self.weights.tensors) - self.taken
            if not n.endswith(
                "rotary_emb.inv_freq"
            )  # older exports store it; it follows from theta
        )
        if left:
            raise ConfigError(
                f"the checkpoint has {len(left)} tensors that this architecture does not use, "
                f"among them {left[0]!r}"
            )

    def layer(
        self, at: str, hidden: Node, rotary: tuple[Node, Node], bias: Node, beams: Node
    ) -> Node:
        normed = self.norm(f"{at}.input_layernorm.weight", hidden)
        hidden = op.add(hidden, self.attention(at, normed, rotary, bias, beams))
        normed = self.norm(f"{at}.post_attention_layernorm.weight", hidden)
        width, inner = self.shape.width, self.shape.inner
        gate = op.swish(self.linear([f"{at}.mlp.gate_proj"], normed, [inner], width))
        up = self.linear([f"{at}.mlp.up_proj"], normed, [inner], width)
        down = self.linear([f"{at}.mlp.down_proj"], op.multiply(gate, up), [width], inner)
        return op.add(hidden, down)

    def attention(
        self, at: str, hidden: Node, rotary: tuple[Node, Node], bias: Node, beams: Node
    ) -> Node:
        s = self.shape
        query, key, value = self.heads(f"{at}.self_attn", hidden)
        key = self.remember(f"{at}.key", _rotate(key, rotary, s.head_dim), beams)
        value = self.remember(f"{at}.value", value, beams)
        attended = op.scaled_dot_product_attention(
            _rotate(query, rotary, s.head_dim),
            self.spread(key),
            self.spread(value),
            bias,
            _f32(s.head_dim**-0.5),
        )
        rows = op.transpose(attended, _i32([0, 2, 1, 3]))
        flat = op.reshape(rows, _i32([0, 0, s.heads * s.head_dim]), True)
        return self.linear([f"{at}.self_attn.o_proj"], flat, [s.width], s.heads * s.head_dim)

    def heads(self, at: str, hidden: Node) -> tuple[Node, Node, Node]:
        """Queries, keys and values, each split into heads: [batch, heads, time, head_dim]."""
        s = self.shape
        counts = [s.heads, s.kv_heads, s.kv_heads]
        # One matrix for all three: a small model spends its step on the number of operations.
        flat = self.linear(
            [f"{at}.{part}_proj" for part in "qkv"],
            hidden,
            [count * s.head_dim for count in counts],
            s.width,
        )
        split = op.reshape(flat, _i32([0, 0, sum(counts), s.head_dim]), True)
        parts = op.variadic_split(split, _i32(2), _i32(counts)).outputs()
        query, key, value = (op.transpose(part, _i32([0, 2, 1, 3])) for part in parts)
        return query, key, value

    def remember(self, name: str, new: Node, beams: Node) -> Output:
        """Append to the state of this layer and return the whole of it."""
        info = VariableInfo()
        info.data_shape = ov.PartialShape([-1, self.shape.kv_heads, -1, self.shape.head_dim])
        info.data_type = ov.Type.f32
        info.variable_id = name
        variable = Variable(info)
        batch = op.gather(op.shape_of(new, "i32"), _i32([0]), _i32(0))
        start_shape = op.concat(
            [batch, _i32([self.shape.kv_heads]), _i32([0]), _i32([self.shape.head_dim])], 0
        )
        past = op.read_value(op.broadcast(_f32(0.0), start_shape), variable)
        whole = op.concat([op.gather(past, beams, _i32(0)), new], 2)
        self.sinks.append(op.assign(whole, variable))
        self.variables.append(variable)
        return whole.output(0)

    def spread(self, grouped: Output) -> Output:
        """Repeat each key-value head for the query heads that share it."""
        s = self.shape
        times = s.heads // s.kv_heads
        if times == 1:
            return grouped
        wide = op.broadcast(
            op.unsqueeze(grouped, _i32(2)),
            _i32([1, 1, times, 1, 1]),
            broadcast_spec="BIDIRECTIONAL",
        )
        return op.reshape(wide, _i32([0, s.heads, -1, s.head_dim]), True).output(0)

    def rotary(self, positions: Node) -> tuple[Node, Node]:
        """Cosines and sines of every position: [batch, 1, time, head_dim]."""
        half = np.arange(0, self.shape.head_dim, 2, dtype=np.float32) / self.shape.head_dim
        inverse = (1.0 / self.shape.rope_theta**half).astype(np.float32).reshape(1, -1, 1)
        angles = op.matmul(
            Constant(inverse), op.convert(op.unsqueeze(positions, _i32(1)), "f32"), False, False
        )
        angles = op.transpose(angles, _i32([0, 2, 1]))
        both = op.concat([angles, angles], 2)
        return (
            op.unsqueeze(op.cos(both), _i32(1)),
            op.unsqueeze(op.sin(both), _i32(1)),
        )

    def norm(self, name: str, hidden: Node) -> Node:
        gain = Constant(self.take(name, (self.shape.width,)).floats().reshape(1, 1, -1))
        mean = op.reduce_mean(op.power(hidden, _f32(2.0)), _i32([-1]), True)
        scale = op.divide(_f32(1.0), op.sqrt(op.add(mean, _f32(self.shape.norm_eps))))
        return op.multiply(gain, op.multiply(hidden, scale))

    def linear(self, names: list[str], hidden: Node, rows: list[int], columns: int) -> Node:
        """Multiply with the matrices `names`, stacked, and add the biases the checkpoint has."""
        out = op.matmul(hidden, self.matrix(names, rows, columns), False, True)
        if not any(f"{name}.bias" in self.weights for name in names):
            return out
        parts = [
            self.take(f"{n}.bias", (count,)).floats() for n, count in zip(names, rows, strict=True)
        ]
        return op.add(out, Constant(np.concatenate(parts).reshape(1, 1, -1)))

    def matrix(self, names: list[str], rows: list[int], columns: int) -> Node:
        stored = [
            self.take(f"{name}.weight", (count, columns))
            for name, count in zip(names, rows, strict=True)
        ]
        if self.form is WeightFormat.BF16:
            raw = np.concatenate([_bf16(part) for part in stored])
            tensor = ov.Tensor(raw, [sum(rows), columns], ov.Type.bf16)
            return op.convert(Constant(tensor, shared_memory=False), "f32")
        values = np.concatenate([part.floats() for part in stored])
        return _int8(values) if self.form is WeightFormat.INT8 else Constant(values)

    def take(self, name: str, shape: tuple[int, ...]) -> StoredTensor:
        self.taken.add(name)
        return self.weights.get(name, shape)


def _input(name: str, kind: ov.Type, shape: list[int]) -> Node:
    node = op.parameter(ov.PartialShape(shape), kind)
    node.set_friendly_name(
        name
    )  # the paged-attention rewrite looks for this, not for the tensor name
    node.output(0).set_names({name})
    return node


def _attention_bias(mask: Node, positions: Node) -> Node:
    """Zero where a key may be seen, very low where it is later than the query or masked out."""
    length = op.gather(op.shape_of(mask, "i64"), _i32(1), _i32(0))
    zero, one = _i64(0), _i64(1)
    keys = op.unsqueeze(op.range(zero, length, one, "i64"), _i32([0, 1, 2]))
    causal = op.less_equal(keys, op.unsqueeze(positions, _i32([1, 3])))
    present = op.not_equal(op.unsqueeze(mask, _i32([1, 2])), zero)
    return op.select(op.logical_and(causal, present), _f32(0.0), _f32(_MASKED))


def _rotate(heads: Node, rotary: tuple[Node, Node], size: int) -> Node:
    """Rotate the two halves of every head against each other."""
    cos, sin = rotary
    first, second = op.variadic_split(heads, _i32(3), _i32([size // 2, size // 2])).outputs()
    # The axis is -1 because OpenVINO's fusion into one RoPE operation looks for just that.
    turned = op.concat([op.multiply(second, _f32(-1.0)), first], -1)
    return op.add(op.multiply(heads, cos), op.multiply(turned, sin))


def _int8(values: Floats) -> Node:
    scale = np.abs(values).max(axis=1, keepdims=True) / 127.0
    # The stored scale is float16: quantise with the rounded one, or the rounding adds an error.
    scale = np.maximum(scale, 1e-7).astype(np.float16)
    steps = np.rint(values / scale.astype(np.float32))
    levels = np.clip(steps, -127, 127, out=steps).astype(np.int8)
    wide = op.convert(Constant(levels, shared_memory=False), "f16")
    return op.convert(op.multiply(wide, Constant(scale)), "f32")


def _bf16(stored: StoredTensor) -> Bytes:
    if stored.dtype == "BF16":
        return stored.raw
    bits = stored.floats().view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # to nearest, ties to even
    return rounded.astype(np.uint16).view(np.uint8).reshape(-1)


def _i32(value: int | list[int]) -> Node:
    return Constant(np.array(value, dtype=np.int32))


def _i64(value: int) -> Node:
    return Constant(np.array(value, dtype=np.int64))


def _f32(value: float) -> Node:
    return Constant(np.array(value, dtype=np.float32))
