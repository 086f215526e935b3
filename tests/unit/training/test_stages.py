"""Are the stages of a model together the model, and is what cannot be shared out refused?"""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from typing import Any

import pytest

from tabwright.errors import ConfigError
from training.config import load_config

EIGHT = ("model.layers=8", "data.batch_rows=16", "data.micro_rows=2")
INTERLEAVED = "parallel.schedule=interleaved"


@pytest.mark.parametrize(
    ("world", "overrides", "told"),
    [
        (4, ["parallel.pipeline=3"], r"its 3 stages must divide model.layers \(8\)"),
        (16, ["parallel.pipeline=16"], r"its 16 stages must divide model.layers \(8\)"),
        (
            2,
            ["parallel.pipeline=2", INTERLEAVED, "parallel.virtual=8"],
            "its 16 stages must divide",
        ),
        (2, [INTERLEAVED], "needs pipeline above 1"),
        (2, ["parallel.pipeline=2", "parallel.virtual=1"], "parallel.virtual"),
        (3, ["parallel.pipeline=2"], r"1 x 2\) must divide the world size \(3\)"),
        (4, ["parallel.pipeline=4", "data.micro_rows=8"], "2 micro-batches of 8 rows are fewer"),
        (8, ["parallel.pipeline=2", "data.micro_rows=8"], "must be a multiple of the ranks"),
        (
            2,
            ["parallel.pipeline=2", INTERLEAVED, "data.batch_rows=10"],
            "5 micro-batches of 2 rows are no multiple of it",
        ),
    ],
)
def test_what_cannot_be_shared_out_is_refused(world: int, overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_config("tiny", [*EIGHT, *overrides]).row_ranks(world)


def test_rows_are_shared_by_what_the_stages_leave_over() -> None:
    stages = [*EIGHT, "parallel.pipeline=2", "parallel.strategy=fsdp", "parallel.tensor=2"]
    assert load_config("tiny", stages).row_ranks(8) == 2
    assert load_config("tiny", [*EIGHT, "parallel.pipeline=4", INTERLEAVED]).parallel.stages == 8


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("ranks", "virtual"), [(2, 1), (2, 2), (4, 1)])
def test_the_stages_one_after_the_other_are_the_model(tied: bool, ranks: int, virtual: int) -> None:
    torch = pytest.importorskip("torch")
    from training.scoring import Scored
    from training.stages import cut

    model = _model(tied)
    ids_BT, documents_BT = torch.arange(24).view(2, 12), torch.arange(24).view(2, 12) % 12 // 5
    expected_N = Scored(model, "fp32")(ids_BT, ids_BT, documents_BT)
    count, names = ranks * virtual, Counter[str]()
    found: dict[int, Any] = {}
    for rank in range(ranks):
        own = deepcopy(model)
        numbers = range(rank, count, ranks)
        for number, part in zip(numbers, cut(own, numbers, count), strict=True):
            sends = None if number == count - 1 else torch.float32
            found[number] = Scored(part, "fp32", sends)
        names.update(name for name, _ in own.named_parameters())
    given = ids_BT
    for number in range(count):
        given = found[number](given, ids_BT, documents_BT)
    assert torch.equal(given, expected_N)
    assert names.keys() == {name for name, _ in model.named_parameters()}
    twice = {name for name, times in names.items() if times > 1}
    assert twice == ({"model.embed_tokens.weight"} if tied else set())


def _model(tied: bool) -> Any:
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=4,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=16,
        tie_word_embeddings=tied, use_cache=False,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)
