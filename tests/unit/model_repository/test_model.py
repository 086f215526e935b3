"""The model that Triton runs, with Triton and TensorRT-LLM as fakes at the process boundary."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from tabwright.errors import ValidationFailed
from tabwright.tensors import INPUTS, OUTPUTS
from tests.fakes import tensorrt_llm as fake_llm
from tests.fakes import triton_python_backend_utils as fake_triton
from tests.fakes.tensorrt_llm import (
    DEAF,
    FAILING,
    KEEPS_STOP,
    LLM,
    ODD_END,
    SLOW,
    STEADY,
    UNSCORED,
)
from tests.fakes.triton_python_backend_utils import InferenceResponse, Metric, Request, ids
from training.export.lora import Adapter
from training.export.repository import TENSORRT_LLM, Serving, model_yaml

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]
MODEL = ROOT / "model_repository" / "tensorrt_llm" / "1" / "model.py"
PATIENCE_S = 20.0


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", fake_triton)
    monkeypatch.setitem(sys.modules, "tensorrt_llm", fake_llm)
    monkeypatch.setitem(sys.modules, "tensorrt_llm.executor", fake_llm)
    spec = importlib.util.spec_from_file_location("exported_model", MODEL)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    monkeypatch.setattr(fake_triton.Metric, "values", {})
    monkeypatch.setattr(LLM, "made", [])
    return loaded


@pytest.fixture
def load(module: Any, tmp_path: Path) -> Callable[..., Any]:
    """Make the model as Triton does."""

    def made(max_active: int = 4, change: Callable[[str], str] = str, **more: Any) -> Any:
        runtime, serving = TENSORRT_LLM, Serving(max_context=64, max_active=max_active, **more)
        (tmp_path / "1").mkdir(exist_ok=True)
        (tmp_path / "1" / "model.yaml").write_text(change(model_yaml(runtime, serving)))
        parameters = {
            "llm_version": runtime.version,
            "refuses": ",".join(runtime.refuses),
            "max_context": "64",
            "max_active": str(max_active),
        }
        config = {
            "name": "tiny",
            "parameters": {k: {"string_value": v} for k, v in parameters.items()},
        }
        model = module.TritonPythonModel()
        model.initialize(
            {
                "model_config": json.dumps(config),
                "model_repository": str(tmp_path),
                "model_version": "1",
            }
        )
        return model

    return made


@pytest.fixture
def model(load: Callable[..., Any]) -> Any:
    return load()


def asked(manner: int, request_id: str = "", **more: Any) -> Request:
    inputs = {
        "input_ids": ids(manner, 5, 6),
        "max_tokens": ids(5),
        "stream": np.array([True]),
        "num_logprobs": ids(1),
    }
    given = {name: value for name, value in (inputs | more).items() if value is not None}
    return Request(request_id, **given)


def stop(request_id: str) -> Request:
    return Request(request_id, stop=np.array([True]))


def told(request: Request) -> tuple[list[int], list[str]]:
    """The ids of all responses, and their finish reasons."""
    assert request.sender.final
    answers = request.sender.responses
    assert [r.error for r in answers] == [None] * len(answers)
    return (
        [i for r in answers for i in r.value("output_ids")],
        [r.value("finish_reason")[0].decode() for r in answers],
    )


def error(request: Request) -> str:
    assert request.sender.final
    last: InferenceResponse = request.sender.responses[-1]
    assert last.error is not None
    return last.error.message()


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(PATIENCE_S):
        while True:
            if condition():
                return
            await anyio.sleep(0.001)


async def test_tokens_come_as_deltas_and_the_last_response_is_final(model: Any) -> None:
    request = asked(STEADY)
    await model.execute([request])
    got, finishes = told(request)
    assert got == [100, 101, 102, 103, 104]
    assert finishes == ["", "", "", "", "length"]
    assert [r.value("log_probs") for r in request.sender.responses] == [[-0.5]] * 5


async def test_not_streamed_there_is_one_response(model: Any) -> None:
    request = asked(STEADY, stream=None, num_logprobs=None)
    await model.execute([request])
    assert told(request) == ([100, 101, 102, 103, 104], ["length"])
    assert request.sender.responses[0].value("log_probs") == []


@pytest.mark.parametrize("manner", [STEADY, KEEPS_STOP])
async def test_a_stop_id_ends_the_answer_and_is_not_part_of_it(model: Any, manner: int) -> None:
    request = asked(manner, stop_token_ids=ids(102, 9))
    await model.execute([request])
    got, finishes = told(request)
    assert (got, finishes[-1]) == ([100, 101], "stop")


async def test_the_llm_gets_the_checkpoint_and_its_arguments_and_is_ended(
    model: Any, tmp_path: Path
) -> None:
    [llm] = LLM.made
    assert llm.arguments["model"] == str((tmp_path / "1" / "../../../checkpoint").resolve())
    assert llm.arguments["skip_tokenizer_init"] is True
    assert "tabwright" not in llm.arguments
    model.finalize()
    assert llm.is_shut_down


async def test_another_version_of_the_llm_is_not_loaded(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_llm, "__version__", "1.1.0")
    with pytest.raises(RuntimeError, match=r"is 1\.1\.0, this model was exported for 1\.2\.1"):
        load()
    assert LLM.made == []


async def test_sampling_reaches_the_llm_by_name(model: Any) -> None:
    request = asked(
        STEADY,
        temperature=np.array([0.5], np.float32),
        top_p=np.array([0.25], np.float32),
        top_k=ids(3),
        seed=np.array([2**63 + 1], np.uint64),
    )
    await model.execute([request])
    sampling = LLM.made[0].generations[0].sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 0.25, 3)
    assert sampling.seed == 2**63 + 1
    assert (sampling.detokenize, sampling.add_special_tokens) == (False, False)
    greedy = asked(STEADY, temperature=np.array([0], np.float32), top_p=np.array([0.1], np.float32))
    await model.execute([greedy])
    sampling = LLM.made[0].generations[1].sampling
    assert (sampling.top_k, sampling.top_p, sampling.temperature) == (1, None, None)


async def test_without_a_seed_two_requests_get_two(model: Any) -> None:
    for _ in range(2):
        await model.execute([asked(STEADY, temperature=np.array([1], np.float32))])
    one, other = LLM.made[0].generations
    assert one.sampling.seed != other.sampling.seed


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"input_ids": None}, "invalid: input_ids"),
        ({"input_ids": ids()}, "invalid: input_ids"),
        ({"max_tokens": None}, "invalid: max_tokens"),
        ({"max_tokens": ids(62)}, "invalid: 3 tokens and max_tokens 62 exceed"),
        ({"max_tokens": ids(1, 2)}, "invalid: max_tokens must have one value"),
        ({"min_p": np.array([0.5], np.float32)}, "invalid: min_p is not supported"),
    ],
    ids=str,
)
async def test_what_cannot_be_served_is_refused(
    model: Any, more: dict[str, Any], text: str
) -> None:
    request = asked(STEADY, **more)
    await model.execute([request])
    assert error(request).startswith(text)
    assert LLM.made[0].generations == []


async def test_a_failing_llm_is_an_error_after_what_was_generated(model: Any) -> None:
    request = asked(FAILING)
    await model.execute([request])
    assert error(request) == "failed: RuntimeError: the GPU fell off the bus"
    assert [r.value("output_ids") for r in request.sender.responses[:-1]] == [[100], [101]]
    again = asked(STEADY)
    await model.execute([again])
    assert told(again)[1][-1] == "length"


@pytest.mark.parametrize("manner", [ODD_END, UNSCORED])
async def test_nonsense_of_the_llm_is_an_error(model: Any, manner: int) -> None:
    request = asked(manner)
    await model.execute([request])
    assert error(request).startswith("failed: RuntimeError: the LLM")


async def test_a_client_that_leaves_ends_its_generation(model: Any) -> None:
    request = asked(SLOW)
    async with anyio.create_task_group() as group:
        group.start_soon(model.execute, [request])
        await until(lambda: LLM.made[0].generations)
        request.sender.gone = True
    assert told(request)[1] == ["cancelled"]
    assert LLM.made[0].generations[0].aborted.is_set()


async def test_a_stop_request_ends_the_one_of_its_id_and_no_other(model: Any) -> None:
    one, other = asked(SLOW, "one"), asked(SLOW, "other")
    async with anyio.create_task_group() as group:
        for request in (one, other):
            group.start_soon(model.execute, [request])
        await until(lambda: len(LLM.made[0].generations) == 2)
        ended = stop("one")
        await model.execute([ended])
        assert one.sender.final, "a stop is answered when the request has ended"
        assert told(ended) == ([], ["stopped"])
        assert not other.sender.final
        await model.execute([stop("other")])
    assert told(one)[1] == told(other)[1] == ["cancelled"]


async def test_stopping_what_does_not_run_is_no_error(model: Any) -> None:
    request = stop("nobody")
    await model.execute([request])
    assert told(request) == ([], ["stopped"])


async def test_an_abort_that_the_llm_does_not_hear_still_ends_the_stream(
    model: Any, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ABORT_PATIENCE_S", 0.05)
    request = asked(DEAF, "deaf")
    async with anyio.create_task_group() as group:
        group.start_soon(model.execute, [request])
        await until(lambda: LLM.made[0].generations)
        await model.execute([stop("deaf")])
    assert told(request)[1] == ["cancelled"]


async def test_admission_is_bounded_and_a_place_is_freed(load: Callable[..., Any]) -> None:
    model = load(max_active=1)
    first, second = asked(SLOW, "first"), asked(STEADY, "second")
    async with anyio.create_task_group() as group:
        group.start_soon(model.execute, [first])
        await until(lambda: LLM.made[0].generations)
        await model.execute([second])
        assert error(second).startswith("overloaded: ")
        await model.execute([stop("first")])
    third = asked(STEADY, "third")
    await model.execute([third])
    assert told(third)[1][-1] == "length"


async def test_an_id_that_is_running_is_not_taken_twice(model: Any) -> None:
    first, second = asked(SLOW, "same"), asked(STEADY, "same")
    async with anyio.create_task_group() as group:
        group.start_soon(model.execute, [first])
        await until(lambda: LLM.made[0].generations)
        await model.execute([second])
        assert "this id is running" in error(second)
        await model.execute([stop("same")])


async def test_a_cancelled_execute_still_sends_the_final_response(model: Any) -> None:
    request = asked(SLOW)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(model.execute([request]))
        await until(lambda: LLM.made[0].generations)
        task.cancel()
    assert error(request) == "failed: the model is shutting down"
    assert model._running == {}


async def test_metrics_count_and_return_to_nothing(model: Any) -> None:
    slow = asked(SLOW, "slow")
    async with anyio.create_task_group() as group:
        group.start_soon(model.execute, [slow])
        await until(lambda: LLM.made[0].generations)
        assert Metric.values["tabwright_llm_waiting"] == 1
        await model.execute([asked(STEADY)])
        await model.execute([stop("slow")])
    assert Metric.values["tabwright_llm_waiting"] == Metric.values["tabwright_llm_active"] == 0
    assert Metric.values["tabwright_llm_tokens_total"] == 5
    assert Metric.values["tabwright_llm_aborts_total"] == 1
    assert Metric.values["tabwright_llm_first_tokens_total"] == 1


def words(text: str) -> Any:
    return np.array([text.encode()], np.object_)


async def test_an_adapter_is_named_by_the_request_and_found_by_the_server(
    load: Callable[..., Any], tmp_path: Path
) -> None:
    folders = [tmp_path / "1" / "../../../lora" / name for name in ("ours", "theirs")]
    for folder in folders:
        folder.resolve().mkdir(parents=True, exist_ok=True)
    adapters = [Adapter(f.name, f, 8, 16.0, ("model.layers.0.mlp.up_proj",)) for f in folders]
    model = load(adapters=tuple(adapters))
    for name in ("theirs", ""):
        request = asked(STEADY, lora_name=words(name))
        await model.execute([request])
        assert told(request)[1][-1] == "length"
    named, base = (g.lora_request for g in LLM.made[0].generations)
    assert named is not None
    assert (named.lora_name, named.lora_int_id) == ("theirs", 2)
    assert named.lora_path == str(folders[1].resolve())
    assert base is None
    assert LLM.made[0].arguments["lora_config"]["lora_target_modules"] == ["mlp_gate"]
    for unknown in ("others", "../../etc", "ours/../theirs"):
        request = asked(STEADY, lora_name=words(unknown))
        await model.execute([request])
        assert error(request) == "invalid: lora_name is none of this model's adapters"
    assert len(LLM.made[0].generations) == 2


async def test_an_adapter_that_is_not_there_ends_the_load(load: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        load(adapters=(Adapter("gone", Path("gone"), 8, 16.0, ("up_proj",)),))
    assert LLM.made == []


async def test_speculation_has_a_pool_of_its_own_or_is_not_loaded(
    load: Callable[..., Any],
) -> None:
    load(speculate=True)
    [llm] = LLM.made
    assert llm.arguments["speculative_config"]["decoding_type"] == "NGram"
    assert llm.arguments["speculative_config"]["is_public_pool"] is False
    assert llm.arguments["disable_overlap_scheduler"] is True
    for other in ("is_public_pool: true", ""):
        with pytest.raises(RuntimeError, match="is_public_pool must be false"):
            load(
                speculate=True,
                change=lambda text, o=other: text.replace("is_public_pool: false", o),
            )
    load()
    assert "speculative_config" not in LLM.made[-1].arguments


async def test_an_argument_that_the_llm_does_not_have_ends_the_load(
    load: Callable[..., Any],
) -> None:
    with pytest.raises(ValidationFailed, match="max_seq_length is unknown"):
        load(change=lambda text: text.replace("max_seq_len", "max_seq_length"))


@pytest.mark.parametrize("as_json", [False, True], ids=["table", "json"])
async def test_the_share_of_the_kv_cache_is_a_gauge(model: Any, as_json: bool) -> None:
    stats = {"iter": 3, "kvCacheStats": {"usedNumBlocks": 5, "maxNumBlocks": 20}}
    LLM.made[0].stats = [{"iter": 2}, json.dumps(stats) if as_json else stats]
    async with anyio.create_task_group() as group:
        group.start_soon(model.execute, [asked(SLOW, "slow")])
        await until(lambda: Metric.values.get("tabwright_llm_kv_cache_used_ratio") == 0.25)
        await model.execute([stop("slow")])
    assert Metric.values["tabwright_llm_kv_cache_used_ratio"] == 0


async def test_statistics_that_fail_cost_no_answer(model: Any) -> None:
    LLM.made[0].stats = [RuntimeError("no statistics here")]
    request = asked(STEADY)
    await model.execute([request])
    assert told(request)[1][-1] == "length"
    assert "no KV cache statistics: RuntimeError" in fake_triton.Logger.lines


def test_the_model_reads_and_writes_exactly_the_table_of_tensors() -> None:
    text = MODEL.read_text()
    for row in (*INPUTS, *OUTPUTS):
        assert f'"{row.name}"' in text, row.name


def test_the_model_imports_nothing_of_ours() -> None:
    lines = MODEL.read_text().splitlines()
    imported = {
        line.split()[1].split(".")[0] for line in lines if line.startswith(("import", "from"))
    }
    assert not imported & {"tabwright", "server", "training", "tests"}
