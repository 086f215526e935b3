"""What one training run is, read from TOML and frozen.

`configs/NAME.toml` are complete examples; `--set section.field=value` changes single values. A
wrong key or value stops the program before anything starts.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tabwright.errors import ConfigError

CONFIGS = Path(__file__).parent / "configs"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Architecture = Literal["llama", "qwen2", "qwen3", "starcoder2"]


class ModelSection(_Section):
    """Shape of the model; `max_positions` is the context it is served at.

    With `checkpoint`, a Hugging Face folder, training starts from its weights and the shape is its.
    """

    architecture: Architecture = "llama"
    checkpoint: Path | None = None
    tie_embeddings: bool = True
    hidden_size: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    max_positions: int = Field(ge=64)
    rope_theta: float = Field(default=10_000.0, gt=0)


class SpanShares(_Section):
    """Weights of the kinds of holes (`training/examples/spans.py`)."""

    character: float = Field(default=0.4, ge=0)
    line: float = Field(default=0.6, ge=0)
    syntax: float = Field(default=0.0, ge=0, description="needs the extra `data`")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.character + self.line + self.syntax:
            raise ValueError("one of character, line and syntax must be above 0")
        return self


Mixture = dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]


class MixtureChange(_Section):
    """Other shares from a step on."""

    from_step: int = Field(gt=0)
    shares: Mixture


class DataSection(_Section):
    """`context`: ids a row. `batch_rows`: rows of one optimizer step over all ranks.

    The rates are shares of windows; what `fim_rate`, `ul2_rate` and `prefix_rate` leave over learns
    every next token. `mixture`: shares of rows by source; without it, a source's ids times its
    weight in the data's configuration.
    """

    context: int = Field(ge=64)
    batch_rows: int = Field(gt=0)
    micro_rows: int = Field(gt=0, description="rows of one forward pass on one rank")
    seed: int = 0
    family: str = Field(default="tabwright", description="FIM family, a row of tabwright/fim.py")
    mask_documents: bool = Field(default=False, description="examples of a row see no other")
    fim_rate: float = Field(default=0.5, ge=0, le=1)
    spm_rate: float = Field(default=0.5, ge=0, le=1)
    header_rate: float = Field(default=0.5, ge=0, le=1)
    fim_level: Literal["context", "document"] = "context"
    spans: SpanShares = SpanShares()
    ul2_rate: float = Field(default=0.0, ge=0, le=1)
    prefix_rate: float = Field(default=0.0, ge=0, le=1)
    pack_windows: int = Field(default=4096, gt=0, description="windows that are packed together")
    mixture: Mixture = {}
    mixture_changes: tuple[MixtureChange, ...] = ()
    instructions: tuple[Path, ...] = Field(
        default=(), description="JSON lines of conversations, the source `instructions`"
    )

    @property
    def masked(self) -> bool:
        """Whether the model is told which ids see each other."""
        return self.mask_documents or self.prefix_rate > 0

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.fim_rate + self.ul2_rate + self.prefix_rate > 1:
            raise ValueError("fim_rate, ul2_rate and prefix_rate must not exceed 1 together")
        steps = [change.from_step for change in self.mixture_changes]
        if sorted(set(steps)) != steps:
            raise ValueError("mixture_changes must ascend by from_step")
        all_shares = [change.shares for change in self.mixture_changes]
        if any(shares.keys() != self.mixture.keys() for shares in all_shares):
            raise ValueError("mixture_changes must name the sources that mixture names")
        if self.mixture and not all(sum(shares.values()) for shares in (self.mixture, *all_shares)):
            raise ValueError("mixture: one share must be above 0")
        return self


class OptimizerSection(_Section):
    """Muon for the matrices of the blocks, AdamW for embeddings and norms; or AdamW for all."""

    name: Literal["muon", "adamw"] = "muon"
    lr: float = Field(gt=0, description="peak rate of the matrices")
    embedding_lr: float = Field(gt=0, description="peak rate of embeddings and norms")
    weight_decay: float = Field(default=0.1, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)


class ScheduleSection(_Section):
    """Linear warm-up, then a cosine from 1 down to `final_share` of the peak rates."""

    steps: int = Field(gt=0)
    warmup_steps: int = Field(default=0, ge=0)
    start_share: float = Field(default=1.0, gt=0, le=1)
    final_share: float = Field(default=0.1, ge=0, le=1)


class RunSection(_Section):
    """How the run goes on the machine."""

    precision: Literal["bf16", "fp32", "fp8"] = "bf16"
    compile: bool = False
    deterministic: bool = Field(default=False, description="refuse kernels that vary by run")
    eval_every: int = Field(default=100, gt=0)
    eval_rows: int = Field(default=32, gt=0)
    threads: int | None = Field(default=None, gt=0, description="CPU threads a rank")
    hang_seconds: float = Field(default=1800, gt=0, description="without progress the run ends")
    straggler_factor: float = Field(default=1.5, gt=1, description="times the median: a warning")


class SpikesSection(_Section):
    """What counts as a loss spike and what is done about it (`training/spikes.py`).

    All policies leave the update of that step out. `rollback` also goes back at least so many steps
    and silences the samples that stand out; `lower_rate` multiplies all rates from then on; `stop`
    ends the run, as more than `most` spikes within `window` steps always do.
    """

    policy: Literal["skip", "rollback", "lower_rate", "stop"] = "skip"
    window: int = Field(default=64, ge=8, description="steps that the others are compared with")
    least: int = Field(default=16, ge=4, description="steps before anything is compared")
    loss_z: float = Field(default=6.0, gt=0, description="deviations of the loss")
    grad_norm_z: float = Field(default=12.0, gt=0, description="deviations of the norm's logarithm")
    rollback_steps: int = Field(default=50, ge=0)
    rate_factor: float = Field(default=0.5, gt=0, lt=1)
    most: int = Field(default=10, gt=0)

    @model_validator(mode="after")
    def _remembers(self) -> Self:
        if self.least > self.window:
            raise ValueError("least must not exceed window")
        return self


class Prompt(_Section):
    """What the model is shown at every checkpoint, to be filled at the border of the two."""

    prefix: str
    suffix: str = ""


class TrackingSection(_Section):
    """What is measured beside the loss, and where it goes besides the run's own files."""

    wandb_project: str | None = Field(default=None, description="offline where no key is set")
    tensorboard: bool = False
    holes: int = Field(default=8, ge=0, description="held-out holes filled at each measure")
    answer_tokens: int = Field(default=32, gt=0, description="longest answer to hole or prompt")
    prompts: tuple[Prompt, ...] = (
        Prompt(prefix="def add(a, b):\n    return "),
        Prompt(prefix="for i in range(", suffix="):\n    print(i)\n"),
        Prompt(prefix="import os\n\n\ndef read(path):\n    with open("),
    )


class AdapterSection(_Section):
    """Train small matrices beside frozen ones (LoRA), which `nf4` keeps in four bits (QLoRA)."""

    rank: int = Field(default=16, gt=0, le=64)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
                                "down_proj")  # fmt: skip
    base: Literal["full", "nf4"] = "full"


class ParallelSection(_Section):
    """How the ranks share the work; what `tensor` x `pipeline` leaves over shares the rows.

    `ddp` keeps a whole model, or stage of the pipeline, on each rank, `fsdp` a share of every
    parameter.
    """

    strategy: Literal["ddp", "fsdp"] = "ddp"
    tensor: int = Field(default=1, gt=0, description="ranks that share each matrix")
    pipeline: int = Field(default=1, gt=0, description="ranks that the layers lie on")
    schedule: Literal["1f1b", "interleaved"] = "1f1b"
    virtual: int = Field(default=2, ge=2, description="stages on a rank, when interleaved")
    recompute: bool = Field(default=False, description="activations again in the backward pass")

    @property
    def stages(self) -> int:
        """Pieces that the layers are cut into."""
        return self.pipeline * (self.virtual if self.schedule == "interleaved" else 1)

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.tensor > 1 and self.strategy == "ddp":
            raise ValueError('tensor above 1 needs strategy = "fsdp"')
        if self.schedule == "interleaved" and self.pipeline == 1:
            raise ValueError('schedule = "interleaved" needs pipeline above 1')
        return self


class CheckpointSection(_Section):
    """How often a run is saved and what stays. `keep`: newest; `keep_every`: steps that stay."""

    every: int = Field(default=200, gt=0)
    keep: int = Field(default=2, gt=0)
    keep_every: int | None = Field(default=None, gt=0)
    second: Path | None = Field(default=None, description="another folder for copies")
    average: float | None = Field(
        default=None, gt=0, lt=1, description="decay of an exponential average of the weights"
    )


class PreferenceSection(_Section):
    """Direct preference optimisation on `pairs`, JSON lines (`training/pairs.py`)."""

    pairs: Path
    beta: float = Field(default=0.1, gt=0, description="the smaller, the further it may go")


class TrainConfig(_Section):
    """One run, complete."""

    model: ModelSection
    data: DataSection
    optimizer: OptimizerSection
    schedule: ScheduleSection
    run: RunSection = RunSection()
    spikes: SpikesSection = SpikesSection()
    tracking: TrackingSection = TrackingSection()
    parallel: ParallelSection = ParallelSection()
    checkpoint: CheckpointSection = CheckpointSection()
    adapter: AdapterSection | None = None
    preference: PreferenceSection | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.model.heads % self.model.kv_heads or self.model.hidden_size % self.model.heads:
            raise ValueError("model: kv_heads must divide heads, and heads hidden_size")
        if self.data.context > self.model.max_positions:
            raise ValueError("data.context must not exceed model.max_positions")
        if self.preference and not self.data.mask_documents:
            raise ValueError("preference: set data.mask_documents, a row holds both texts")
        if self.data.batch_rows % self.data.micro_rows:
            raise ValueError("data.micro_rows must divide data.batch_rows")
        if self.model.layers % self.parallel.stages:
            raise ValueError(
                f"parallel.pipeline: its {self.parallel.stages} stages must divide model.layers "
                f"({self.model.layers})"
            )
        if self.schedule.warmup_steps >= self.schedule.steps:
            raise ValueError("schedule.warmup_steps must be below schedule.steps")
        return self

    def row_ranks(self, world: int) -> int:
        """How many of `world` ranks share the rows of a batch.

        Raises:
            ConfigError: they cannot share the work evenly.
        """
        tensor, pipeline, rows = self.parallel.tensor, self.parallel.pipeline, self.data.batch_rows
        if world % (tensor * pipeline):
            raise ConfigError(
                f"parallel.tensor x parallel.pipeline ({tensor} x {pipeline}) must divide the "
                f"world size ({world})"
            )
        ranks = world // (tensor * pipeline)
        if rows % (ranks * self.data.micro_rows):
            raise ConfigError(
                f"data.batch_rows ({rows}) must be a multiple of the ranks that share rows x "
                f"data.micro_rows ({ranks} x {self.data.micro_rows})"
            )
        self._check_pieces(rows // ranks)
        return ranks

    def _check_pieces(self, rows: int) -> None:
        """Whether the micro-batches of a rank's rows keep all stages busy."""
        pieces, pipeline = rows // self.data.micro_rows, self.parallel.pipeline
        interleaved = self.parallel.schedule == "interleaved"
        if pieces < pipeline or (interleaved and pieces % pipeline):
            raise ConfigError(
                f"parallel.pipeline ({pipeline}): {pieces} micro-batches of {self.data.micro_rows} "
                f"rows are {'no multiple of it' if interleaved else 'fewer'}; set data.micro_rows "
                f"to another divisor of the {rows} rows that a rank has, or data.batch_rows higher"
            )


def load_config(name: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read `configs/NAME.toml`, or the file at the path NAME, and apply `section.field=value`.

    Raises:
        ConfigError: no such file, wrong TOML, an unknown key or a value out of range.
    """
    path = Path(name) if name.endswith(".toml") else CONFIGS / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.toml")))
        raise ConfigError(f"no training config {name!r}; known: {known}, or a path to a .toml file")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        for override in overrides:
            _apply(raw, override)
        _take_shape(raw)
        return TrainConfig.model_validate(raw)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    except ValidationError as error:
        rows = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {'; '.join(rows)}") from error


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    section, dot, name = key.partition(".")
    if not (equals and dot):
        raise ConfigError(f"--set {override!r}: write section.field=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    raw.setdefault(section, {})[name] = parsed


def _take_shape(raw: dict[str, Any]) -> None:
    """Fill in the shape of the checkpoint that training starts from; what is written stays."""
    model = raw.get("model")
    if not isinstance(model, dict) or "checkpoint" not in model:
        return
    file = Path(model["checkpoint"]) / "config.json"
    try:
        found = json.loads(file.read_text("utf-8"))
        rope = found.get("rope_parameters") or {}
        shape = {
            "architecture": found["model_type"],
            "hidden_size": found["hidden_size"],
            "layers": found["num_hidden_layers"],
            "heads": found["num_attention_heads"],
            "kv_heads": found.get("num_key_value_heads") or found["num_attention_heads"],
            "intermediate_size": found["intermediate_size"],
            "max_positions": found["max_position_embeddings"],
            "rope_theta": rope.get("rope_theta") or found.get("rope_theta", 10_000.0),
            "tie_embeddings": found.get("tie_word_embeddings", False),
        }
    except (OSError, ValueError, LookupError) as error:
        raise ConfigError(f"model.checkpoint: {file} cannot be read ({error!r})") from error
    raw["model"] = shape | model
