"""Every option of the gateway, stated once. How they are read: `tabwright.settings`."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from server.caller import MAX_DELAY_MS, Caller, Eagerness, Lines
from server.rates import Rate

BUNDLED_MODEL = Path(__file__).parent / "models" / "tabwright-7m"
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9.:\[\]_-]+")


def _listed(value: Any) -> Any:
    """Take a list, or a text with commas, as the environment and flags give it."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


# What may change while the gateway serves. Everything else is built into it when it starts.
LIVE_OPTIONS = frozenset(
    {
        *("rate_per_s", "rate_burst"),
        *("max_waiting", "max_choices", "max_body_bytes", "max_connections"),
        *("header_timeout_s", "body_timeout_s", "write_timeout_s", "deadline_s", "drain_s"),
        *("default_temperature", "editor_max_tokens"),
        *("postprocess", "lines", "delay_ms", "min_confidence"),
        *("typeahead_mb", "typeahead_ttl_s", "speculate"),
        *("log_level", "log_format", "cohorts"),
    }
)


_TritonUrls = Annotated[
    tuple[Annotated[str, Field(pattern=r"^\S+:\d+$")], ...], BeforeValidator(_listed)
]


def _from_json(value: Any) -> Any:
    """Take a table, or its JSON, as the environment and flags give it."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"give a table of TOML, or JSON: {error}") from None
    return value


class ModelSettings(BaseModel):
    """A further model, `[server.models.NAME]`; what is left out is as in `[server]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Path
    engine: Literal["cpu", "scripted", "triton"] | None = None
    threads: int | None = Field(default=None, ge=0)
    kv_cache_mb: int | None = Field(default=None, ge=1)
    weights: Literal["int8", "bf16", "f32"] | None = None
    triton_url: _TritonUrls | None = Field(default=None, min_length=1)
    triton_model: str | None = None


class ServerSettings(BaseModel):
    """Options of `tabwright serve`; TOML table `[server]`, variables TABWRIGHT_SERVER_*."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(
        default=8123, ge=0, le=65535, description="port to listen on; 0 picks a free one"
    )
    engine: Literal["cpu", "scripted", "triton"] = Field(
        default="cpu", description="engine that runs the model"
    )
    model: Path = Field(default=BUNDLED_MODEL, description="model folder")
    models: Annotated[dict[str, ModelSettings], BeforeValidator(_from_json)] = Field(
        default={},
        description="further models that flags and requests may choose by name, each a table "
        "`[server.models.NAME]` with its `model` folder, and `engine`, `threads`, `kv_cache_mb`, "
        "`weights`, `triton_url`, `triton_model` where they differ",
    )
    store: str | None = Field(
        default=None,
        description="where flags are read and events kept: a file, or redis://host:port/number; "
        "none: neither",
    )
    spool_dir: Path = Field(
        default=Path("tabwright-spool"),
        description="folder where events wait while the store is away, and the last flags are kept",
    )
    spool_mb: int = Field(default=1024, ge=1, description="size that they may have there")
    cohorts: Annotated[dict[str, tuple[str, ...]], BeforeValidator(_from_json)] = Field(
        default={},
        description="groups that flags may go by, each a list of users; a user is in one at most",
    )
    evals: Annotated[dict[str, Path], BeforeValidator(_from_json)] = Field(
        default={},
        description="folders of finished runs of evalkit, by model, whose pass@k the console shows",
    )
    api_key: str | None = Field(
        default=None,
        min_length=1,
        repr=False,
        description="key clients must send as bearer; give it by variable, flags are public",
    )
    keys_file: Path | None = Field(
        default=None, description="file of API keys, made by `tabwright keys`; read when it changes"
    )
    allow_open: bool = Field(
        default=False, description="let everybody in although there is no API key"
    )
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        default=(),
        description="origins whose web pages may call, like https://ide.example.org",
    )
    rate_per_s: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        description="completions a second that one user may start; none: no limit",
    )
    rate_burst: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="completions that one user may start at once; none: one second's worth",
    )
    max_running: int = Field(default=8, ge=1, description="completions that run at the same time")
    max_waiting: int = Field(default=64, ge=0, description="completions that may wait for a slot")
    max_choices: int = Field(default=128, ge=1, description="prompts times n of one request")
    max_body_bytes: int = Field(default=2_097_152, ge=1024, description="largest request body")
    max_connections: int = Field(default=1024, ge=1, description="connections at the same time")
    header_timeout_s: float = Field(default=10, gt=0, description="time for a request's headers")
    body_timeout_s: float = Field(default=10, gt=0, description="time for a request's body")
    write_timeout_s: float = Field(
        default=10, gt=0, description="a client that reads nothing for so long counts as gone"
    )
    deadline_s: float = Field(default=60, gt=0, description="time for one completion request")
    drain_s: float = Field(
        default=10, ge=0, description="time for running requests after a stop signal"
    )
    default_temperature: float = Field(
        default=0.2, ge=0, le=2, description="OpenAI requests that name no temperature"
    )
    editor_max_tokens: int = Field(
        default=64, ge=1, description="answer length in protocols where the client names none"
    )
    postprocess: Literal["off", "v1"] = Field(
        default="v1",
        description="version of the steps that cut fill-in-the-middle answers; off: raw text",
    )
    lines: Lines = Field(
        default=Lines.AUTO, description="suggestions of one line or of several; auto decides"
    )
    delay_ms: float = Field(
        default=0,
        ge=0,
        le=MAX_DELAY_MS,
        description="time to wait for a newer keystroke before a suggestion is started",
    )
    min_confidence: float = Field(
        default=0,
        ge=0,
        le=1,
        description="suggestions the model is less sure of are not shown; 0 shows all",
    )
    typeahead_mb: int = Field(
        default=64,
        ge=0,
        description="memory for suggestions that may be typed into; 0 turns it off",
    )
    typeahead_ttl_s: float = Field(
        default=300, gt=0, description="time after which a suggestion is forgotten"
    )
    speculate: bool = Field(
        default=False,
        description="generate what follows a suggestion, as if accepted, while nothing else runs",
    )
    snippet_share: float = Field(
        default=0.25,
        ge=0,
        le=0.75,
        description="share of a prompt that pieces of other files may take; 0 leaves them out",
    )
    events_file: Path | None = Field(
        default=None,
        description="file that suggestions and what became of them are written to, as lines of "
        "JSON without code; none: they are only counted",
    )
    events_file_mb: int = Field(
        default=64, ge=1, description="size at which the events file is put aside"
    )
    threads: int = Field(default=0, ge=0, description="cpu engine: threads; 0 takes one per core")
    kv_cache_mb: int | None = Field(
        default=None,
        ge=1,
        description="cpu engine: memory for keys and values; none: as much as is useful",
    )
    chunk_tokens: int = Field(
        default=128,
        ge=32,
        description="cpu engine: tokens of one step; fewer free cancelled ones sooner",
    )
    weights: Literal["int8", "bf16", "f32"] | None = Field(
        default=None, description="cpu engine: format of the weights; none: what fits the precision"
    )
    precision: Literal["fast", "f32"] = Field(
        default="fast", description="cpu engine: f32 is exact, for comparisons"
    )
    cache_dir: Path | None = Field(
        default=None,
        description="cpu engine: folder of converted models; none: ~/.cache/tabwright/ir",
    )
    triton_url: _TritonUrls = Field(
        default=("127.0.0.1:8001",),
        min_length=1,
        description="triton engine: host and port of Triton's gRPC; several, with commas, share "
        "the requests",
    )
    triton_model: str | None = Field(
        default=None, description="triton engine: name of the exported model; none: the model's"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level that is logged"
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="form of a log line; json: one object a line"
    )

    otel_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="OpenTelemetry collector for traces (OTLP over HTTP); none: no traces",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="gateway processes on one socket, each with an engine and limits of its own",
    )
    reload_config: bool = Field(
        default=False, description="read the TOML file again when it changes; SIGHUP always does"
    )

    def eagerness(self) -> Eagerness:
        """How eager suggestions are where nobody says otherwise."""
        return Eagerness(self.delay_ms, self.min_confidence, self.lines)

    def engine_options(self) -> dict[str, object]:
        """What the chosen engine is made with."""
        # The gateway's line is the long one; the engine's takes over while slots are being freed.
        # A readiness check wants a place too.
        waiting = self.max_running + 8
        options: dict[str, object] = {"slots": self.max_running, "waiting": waiting}
        if self.engine == "triton":
            options |= {"urls": self.triton_url, "model": self.triton_model}
        if self.engine == "cpu":
            names = ("threads", "kv_cache_mb", "chunk_tokens", "weights", "precision", "cache_dir")
            options |= {name: getattr(self, name) for name in names}
            if self.workers > 1 and not self.threads:
                options["threads"] = max(1, len(os.sched_getaffinity(0)) // self.workers)
        return options

    def of_model(self, name: str) -> ServerSettings:
        """These settings with those of the further model `name` in their place."""
        given = self.models[name].model_dump(exclude_none=True)
        return self.model_copy(update=given)

    def cohort(self, caller: Caller) -> str:
        """The group of a caller, empty where there is none."""
        user = caller.user or caller.key
        return next((name for name, users in self.cohorts.items() if user in users), "")

    @property
    def closed(self) -> bool:
        """Whether a key is asked for."""
        return self.api_key is not None or self.keys_file is not None

    def rate(self) -> Rate | None:
        """What each user may start."""
        return Rate.of(self.rate_per_s, self.rate_burst) if self.rate_per_s else None

    @field_validator("cors_origins")
    @classmethod
    def _exact_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError("an origin is scheme://host or scheme://host:port, in lower case")
        return origins

    @field_validator("models")
    @classmethod
    def _names(cls, models: dict[str, ModelSettings]) -> dict[str, ModelSettings]:
        for name in models:
            if not _MODEL_NAME.fullmatch(name):
                raise ValueError(f"{name!r}: name models by letters, digits, '.', '_', '/' and '-'")
        return models

    @field_validator("cohorts")
    @classmethod
    def _one_cohort_each(cls, cohorts: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        users = [user for members in cohorts.values() for user in members]
        if twice := sorted({user for user in users if users.count(user) > 1}):
            raise ValueError(f"{twice[0]!r} is in two cohorts; leave it in one")
        return cohorts

    @model_validator(mode="after")
    def _one_place_for_events(self) -> ServerSettings:
        if self.store is not None and self.events_file is not None:
            raise ValueError("events go to the store or to events_file; leave out one of them")
        return self

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> ServerSettings:
        if not self.closed and not self.allow_open and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} is reachable from other machines: set api_key or keys_file, "
                "or allow_open if everyone on the network may use it"
            )
        return self


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
