"""Does an example in a packed row get what it would get in a row of its own?"""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from training.attention import positions, visible  # noqa: E402
from training.batch import Batch  # noqa: E402
from training.loader import IGNORE  # noqa: E402
from training.scoring import Scored  # noqa: E402


def _scored() -> Scored:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=32,
    )  # fmt: skip
    return Scored(transformers.LlamaForCausalLM(config), "fp32")


def test_positions_begin_anew_with_each_document() -> None:
    documents = torch.tensor([[0, 0, 0, 1, 1, 2, -1, -1]])
    assert positions(documents).tolist() == [[0, 1, 2, 0, 1, 0, 0, 1]]


def test_an_id_of_a_prefix_sees_its_whole_prefix_and_no_other_document() -> None:
    documents = torch.tensor([[0, 0, 0, 1]])
    prefixes = torch.tensor([[True, True, False, True]])
    assert visible(documents, prefixes)[0, 0].tolist() == [
        [True, True, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [False, False, False, True],
    ]


def test_packed_examples_have_the_loss_they_have_alone() -> None:
    scored, first, second = _scored(), list(range(9)), list(range(20, 34))
    ids = torch.tensor([[*first, *second, 49]])
    documents = torch.tensor([[0] * 9 + [1] * 14 + [-1]])
    targets = torch.roll(ids, -1, dims=1)
    targets[0, [8, 22, 23]] = IGNORE
    batch = Batch(ids, targets, documents, torch.zeros_like(ids, dtype=torch.bool))
    packed = scored(batch.inputs_BT, batch.targets_BT, batch.documents_BT, batch.prefixes_BT)
    alone = [
        scored(torch.tensor([example]), torch.tensor([[*example[1:], IGNORE]]))
        for example in (first, second)
    ]
    assert torch.allclose(packed, torch.cat([*alone, torch.zeros(1)]), atol=1e-5)
    assert not torch.allclose(packed, scored(ids, targets), atol=1e-2)
