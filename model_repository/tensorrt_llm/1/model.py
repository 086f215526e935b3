"""Triton's Python model around TensorRT-LLM's LLM: token ids in, token ids out, as they come.

Runs inside Triton and imports nothing of Tabwright. `model.yaml` beside it has the LLM's arguments
and, under `tabwright`, which module provides the LLM: `tensorrt_llm`, or `local_llm` on a CPU. Does
not know text. Whatever happens to a request, exactly one response is marked final: without it the
client would wait for ever. Read `TritonPythonModel.execute` first.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import time
import uuid
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
import yaml

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
ABORT_PATIENCE_S = 5.0
CACHE_PERIOD_S = 1.0  # between two looks at the KV cache
FLOATS = ("temperature", "top_p", "min_p")
PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")


class Refused(Exception):
    """A request that is not taken; the text is the answer."""


class TritonPythonModel:
    """One model, many requests at once in one event loop."""

    def initialize(self, args):
        """Load the LLM, or fail with a reason, upon which Triton does not serve the model."""
        config = json.loads(args["model_config"])
        parameters = {k: v["string_value"] for k, v in config.get("parameters", {}).items()}
        folder = Path(args["model_repository"]) / args["model_version"]
        settings = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))
        ours, arguments = settings["tabwright"], dict(settings["llm"])
        self._module = importlib.import_module(ours["runtime"])
        found, wanted = self._module.__version__, parameters["llm_version"]
        if found != wanted:
            raise RuntimeError(
                f"{ours['runtime']} is {found}, this model was exported for {wanted}: use the "
                "container that its manifest names, or export again"
            )
        speculation = arguments.get("speculative_config")
        if speculation and speculation.get("is_public_pool", True) is not False:
            raise RuntimeError(
                "model.yaml: speculative_config: is_public_pool must be false; a shared pool would "
                "offer one user what another typed"
            )
        arguments["model"] = str((folder / arguments["model"]).resolve())
        self._max_context = int(parameters["max_context"])
        self._max_active = int(parameters["max_active"])
        self._refuses = frozenset(filter(None, parameters["refuses"].split(",")))
        self._period_s = ours["cancellation_check_period_ms"] / 1000
        self._adapters = adapters(ours, folder)
        self._running = {}
        self._cache_seen = None
        self._gauges = Gauges(config["name"], self._running)
        self._llm = self._module.LLM(**arguments)

    async def execute(self, requests):
        """Serve each request to its end; others are served meanwhile."""
        async with asyncio.TaskGroup() as group:
            for request in requests:
                group.create_task(self._serve(request))

    def finalize(self):
        """End the LLM."""
        if llm := getattr(self, "_llm", None):
            llm.shutdown()

    async def _serve(self, request):
        sender = request.get_response_sender()
        last = failure("failed: the model is shutting down")
        try:
            if scalar(request, "stop", False):
                await self._stop(request.request_id())
                last = response(finish="stopped")
            else:
                last = await self._answer(request, sender)
        except Refused as error:
            last = failure(str(error))
        except Exception as error:  # noqa: BLE001, an error that escapes hangs the client
            pb_utils.Logger.log_error(f"a request failed: {type(error).__name__}")
            last = failure(f"failed: {flat(error)}")
        finally:
            sender.send(last, flags=FINAL)
            self._gauges.count()  # last, because nobody's slot should wait for Triton's metrics

    async def _answer(self, request, sender):
        """Run one generation and return the last response."""
        call = Call(request, self._max_context, self._refuses, self._adapters)
        key = request.request_id() or uuid.uuid4().hex
        if key in self._running:
            raise Refused("invalid: a request with this id is running")
        if len(self._running) >= self._max_active:
            raise Refused(f"overloaded: {self._max_active} requests are running")
        generation = self._llm.generate_async(
            inputs=call.ids,
            sampling_params=self._module.SamplingParams(**call.sampling),
            streaming=True,
            **call.adapter,
        )
        run = self._running[key] = Run(generation, call, self._gauges)
        self._gauges.count()
        try:
            async with asyncio.TaskGroup() as group:
                watchers = [
                    group.create_task(self._watch(sender, run)),
                    group.create_task(self._follow_cache()),
                ]
                try:
                    return await pump(run, sender)
                finally:
                    for watcher in watchers:
                        watcher.cancel()
        finally:
            del self._running[key]
            run.ended.set()

    async def _watch(self, sender, run):
        """Abort the generation once its client has gone."""
        while not sender.is_cancelled():  # noqa: ASYNC110, Triton has nothing to wait for
            await asyncio.sleep(self._period_s)
        run.abort()

    async def _follow_cache(self):
        """Look at the KV cache while there is a request; of several, one at a time looks."""
        while True:
            now = time.monotonic()
            if self._cache_seen is None or now - self._cache_seen >= CACHE_PERIOD_S:
                self._cache_seen = now
                try:
                    async for told in self._llm.get_stats_async(timeout=CACHE_PERIOD_S / 2):
                        self._gauges.cache(told)
                except Exception as error:  # noqa: BLE001, a gauge must not cost an answer
                    pb_utils.Logger.log_error(f"no KV cache statistics: {type(error).__name__}")
            await asyncio.sleep(CACHE_PERIOD_S)

    async def _stop(self, key):
        """End a running request by its id and see it end; one that never ran is no error."""
        if run := self._running.get(key):
            run.abort()
            await run.ended.wait()


class Call:
    """What a request asks for, checked."""

    def __init__(self, request, max_context, refuses, known_adapters):
        """Read the tensors; raise Refused where a value cannot be served."""
        self.ids = vector(request, "input_ids")
        if not self.ids:
            raise Refused("invalid: input_ids is empty or missing")
        max_tokens = int(scalar(request, "max_tokens", 0))
        if max_tokens < 1:
            raise Refused("invalid: max_tokens must be at least 1")
        if len(self.ids) + max_tokens > max_context:
            raise Refused(
                f"invalid: {len(self.ids)} tokens and max_tokens {max_tokens} exceed the context "
                f"of {max_context}"
            )
        self.adapter = {}
        if name := text(request, "lora_name"):
            if name not in known_adapters:
                raise Refused("invalid: lora_name is none of this model's adapters")
            self.adapter = {"lora_request": known_adapters[name]}
        self.stream = bool(scalar(request, "stream", False))
        self.scored = bool(scalar(request, "num_logprobs", 0))
        self.stops = frozenset(vector(request, "stop_token_ids"))
        self.sampling = {
            "max_tokens": max_tokens,
            "end_id": min(self.stops, default=-1),
            "stop_token_ids": sorted(self.stops) or None,
            "detokenize": False,
            "add_special_tokens": False,
            "logprobs": 1 if self.scored else None,
            **self._choice(request, refuses),
        }

    @staticmethod
    def _choice(request, refuses):
        """How tokens are picked; a field that is not asked for is not named to the LLM."""
        given = {name: scalar(request, name, None) for name in (*FLOATS, *PENALTIES)}
        given = {name: float(value) for name, value in given.items() if value is not None}
        if wrong := sorted(given.keys() & refuses):
            raise Refused(f"invalid: {wrong[0]} is not supported by this model")
        if not given.get("temperature"):
            given = {name: given[name] for name in PENALTIES if name in given}
            return given | {"top_k": 1}  # greedy
        if top_k := int(scalar(request, "top_k", 0)):
            given["top_k"] = top_k
        seed = scalar(request, "seed", None)
        given["seed"] = int(seed) if seed is not None else uuid.uuid4().int % 2**64
        return given


class Run:
    """A generation that is under way, and what of it has been sent."""

    def __init__(self, generation, call, gauges):
        """Begin with nothing sent."""
        self.generation = generation
        self.call = call
        self.aborted = False
        self.begun = False
        self.limit = None
        self.ended = asyncio.Event()
        self._gauges = gauges
        self._seen = 0
        self._started = time.monotonic()

    def abort(self):
        """Tell the LLM to end it; what does not end in time is given up."""
        if self.aborted:
            return
        self.aborted = True
        self.generation.abort()
        self._gauges.aborted += 1
        if self.limit is not None:
            self.limit.reschedule(asyncio.get_running_loop().time() + ABORT_PATIENCE_S)

    def take(self, output):
        """Return the new ids, their log probabilities, and how it ended, or None.

        The LLM tells everything so far. A stop id is no part of the answer, whether or not the LLM
        leaves it in.
        """
        ids = [int(i) for i in output.token_ids[self._seen :]]
        scores = list(output.logprobs or [])[self._seen :] if self.call.scored else []
        self._seen += len(ids)
        finish = output.finish_reason
        stop = next((place for place, i in enumerate(ids) if i in self.call.stops), None)
        if stop is not None:
            ids, finish = ids[:stop], "stop"
        if ids:
            self._note(len(ids))
        if self.call.scored and len(scores) < len(ids):
            raise RuntimeError("the LLM gave fewer log probabilities than tokens")
        logprobs = [chosen(score, i) for score, i in zip(scores, ids)]  # noqa: B905
        return ids, logprobs, finish

    def _note(self, count):
        if not self.begun:
            self.begun = True
            self._gauges.count()
            self._gauges.first_token_seconds.increment(time.monotonic() - self._started)
            self._gauges.first_tokens.increment(1)
        self._gauges.tokens.increment(count)


async def pump(run, sender):
    """Send what comes, and return the last response."""
    held_ids, held_scores = [], []
    finish = None
    try:
        async with asyncio.timeout(None) as run.limit:
            async for output in run.generation:
                ids, scores, finish = run.take(output.outputs[0])
                held_ids += ids
                held_scores += scores
                if finish is not None:
                    break
                if run.call.stream and held_ids and not run.aborted:
                    sender.send(response(held_ids, held_scores))
                    held_ids, held_scores = [], []
    except TimeoutError:
        pb_utils.Logger.log_error("an aborted generation did not end; it was given up")
    finally:
        run.limit = None  # an abort that comes now finds nothing to hurry
    if run.aborted or finish is None:
        finish = "cancelled"
    elif finish not in ("stop", "length"):
        raise RuntimeError(f"the LLM ended with {finish!r}")
    return response(held_ids, held_scores, finish)


class Gauges:
    """What Triton's /metrics says about this model; its own durations end when execute returns."""

    def __init__(self, name, running):
        """Register them, labelled with the model's name; `running` is what is counted."""
        self._running = running
        self._labels = {"model": name}
        self._families = []  # a metric whose family is gone cannot be set
        self._said = {}
        self.aborted = 0  # since they were told
        family = pb_utils.MetricFamily
        gauge, counter = family.GAUGE, family.COUNTER
        self._waiting = self._make("waiting", "requests without a token so far", gauge)
        self._active = self._make("active", "requests that are generating", gauge)
        self.tokens = self._make("tokens_total", "tokens generated", counter)
        self._aborts = self._make("aborts_total", "requests ended by their client", counter)
        self.first_tokens = self._make("first_tokens_total", "answers begun", counter)
        self.first_token_seconds = self._make(
            "first_token_seconds_total", "time to the first token of all of them", counter
        )

        self._cache = self._make("kv_cache_used_ratio", "share of KV blocks in use", gauge)

    def _make(self, name, description, kind):
        family = pb_utils.MetricFamily(
            name=f"tabwright_llm_{name}", description=description, kind=kind
        )
        self._families.append(family)
        return family.Metric(labels=self._labels)

    def count(self):
        """Say how many wait, how many generate, and how many more were aborted."""
        begun = sum(run.begun for run in self._running.values())
        self._set(self._active, begun)
        self._set(self._waiting, len(self._running) - begun)
        if self.aborted:
            self._aborts.increment(self.aborted)
            self.aborted = 0
        if not self._running:
            self._set(self._cache, 0.0)  # nobody asks the LLM any more, and nobody holds a block

    def cache(self, told):
        """Take the LLM's statistics of one step: a table, or its JSON."""
        stats = json.loads(told) if isinstance(told, str) else told
        blocks = stats.get("kvCacheStats")
        if blocks and blocks["maxNumBlocks"] and self._running:
            self._set(self._cache, blocks["usedNumBlocks"] / blocks["maxNumBlocks"])

    def _set(self, metric, value):
        """Tell Triton what it does not know yet; all requests wait while it is told."""
        if self._said.get(metric) != value:
            self._said[metric] = value
            metric.set(value)


def adapters(ours, folder):
    """The adapters of `model.yaml` by name; their paths are the server's, never a client's."""
    table = ours.get("loras", {})
    if not table:
        return {}
    make = importlib.import_module(ours["lora_module"]).LoRARequest
    return {
        name: make(name, number, str((folder / path).resolve()))
        for number, (name, path) in enumerate(table.items(), start=1)
    }


def vector(request, name):
    """An input as a list of ints; empty if it was not given."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return [] if tensor is None else [int(i) for i in tensor.as_numpy().reshape(-1)]


def scalar(request, name, default):
    """The only value of an input, or `default` if it was not given."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None:
        return default
    values = tensor.as_numpy().reshape(-1)
    if values.size != 1:
        raise Refused(f"invalid: {name} must have one value")
    return values[0].item()


def text(request, name):
    """An input of one string; empty if it was not given."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None:
        return ""
    values = tensor.as_numpy().reshape(-1)
    if values.size != 1:
        raise Refused(f"invalid: {name} must have one value")
    value = values[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def response(ids=(), logprobs=(), finish=""):
    """One response."""
    return pb_utils.InferenceResponse(
        output_tensors=[
            pb_utils.Tensor("output_ids", np.array(ids, dtype=np.int32)),
            pb_utils.Tensor("log_probs", np.array(logprobs, dtype=np.float32)),
            pb_utils.Tensor("finish_reason", np.array([finish.encode()], dtype=np.object_)),
        ]
    )


def failure(text):
    """An error in place of a response; its first word is invalid, overloaded or failed."""
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(text))


def chosen(score, token_id):
    """Log probability of the id that was chosen; the LLM tells a number, or a table of ids."""
    if isinstance(score, dict):
        if token_id not in score:
            raise RuntimeError("the LLM gave no log probability for the token it chose")
        score = score[token_id]
    return min(0.0, float(getattr(score, "logprob", score)))


def flat(error):
    """An error in one line; of several, the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
