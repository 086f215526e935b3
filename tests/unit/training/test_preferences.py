"""Are the right texts compared, and does the model come to prefer the chosen one?"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tabwright.errors import ConfigError  # noqa: E402
from tabwright.fim import FimFormat  # noqa: E402
from tabwright.tokenizer import Tokenizer  # noqa: E402
from tests.fakes.tiny_artifact import make_tiny_artifact  # noqa: E402
from training.batch import Batch  # noqa: E402
from training.data.shards import HELD_OUT, TRAIN  # noqa: E402
from training.loader import IGNORE  # noqa: E402
from training.objectives.preference import Preference  # noqa: E402
from training.pairs import CHOSEN, REJECTED, Pairs  # noqa: E402


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny"
    make_tiny_artifact(folder, dtype="F32")
    return folder


def _pairs(base: Path, file: Path, lines: list[dict[str, Any]], split: str = TRAIN) -> Pairs:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    tokenizer = Tokenizer.from_file(base / "tokenizer.json")
    fim = FimFormat.bind("tabwright", tokenizer, "spm")
    return Pairs(file, split, tokenizer, fim, context=128, seed=0)


def _lines(count: int) -> list[dict[str, Any]]:
    return [
        {"prefix": f"def f{n}(a):\n    return ", "suffix": "\n", "path": "a.py",
         "chosen": f"a + {n}", "rejected": f"print({n})"}
        for n in range(count)
    ]  # fmt: skip


def test_a_row_holds_both_texts_after_the_same_prompt(base: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(base / "tokenizer.json")
    rows = _pairs(base, tmp_path / "pairs.jsonl", _lines(30)).batch(3, 4)
    for inputs, targets, documents in zip(
        rows.inputs_BT, rows.targets_BT, rows.documents_BT, strict=True
    ):
        learnt = [targets[(documents == n) & (targets != IGNORE)].tolist() for n in (0, 1)]
        texts = [tokenizer.decode(ids) for ids in learnt]
        assert texts[CHOSEN].startswith("a + ")
        assert texts[REJECTED] == texts[CHOSEN].replace("a + ", "print(") + ")"
        one, two = (inputs[documents == n].tolist() for n in (0, 1))
        prompt = len(one) - len(learnt[0])
        assert one[:prompt] == two[:prompt]
        assert "def f" in tokenizer.decode(one[:prompt])


def test_pairs_are_split_and_read_by_any_ranks_alike(base: Path, tmp_path: Path) -> None:
    both = [
        _pairs(base, tmp_path / "pairs.jsonl", _lines(30), split) for split in (TRAIN, HELD_OUT)
    ]
    names = [{name for n in range(60) for name in split.samples(n)} for split in both]
    assert [len(n) for n in names] == [2 * 28, 2 * 2]
    assert not names[0] & names[1]
    assert both[0].groups(range(7)) == {"pairs": 7}
    both[0].silence(both[0].samples(20)[:1])
    assert (both[0].batch(20, 1).targets_BT == IGNORE).all()
    assert (both[0].batch(21, 1).targets_BT != IGNORE).any()
    whole, mine = both[0].batch(5, 4), both[0].batch(5, 4, 1, 2)
    assert np.array_equal(whole.inputs_BT[1::2], mine.inputs_BT)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"prefix": "a", "chosen": "b"}, "rejected"),
        ({"prefix": "a", "chosen": "", "rejected": "c"}, "chosen"),
        ({"prefix": "a", "chosen": "b" * 900, "rejected": "c"}, "longer than half"),
    ],
)
def test_a_wrong_line_is_named(base: Path, tmp_path: Path, line: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"line 3: .*{told}|line 3: {told}"):
        _pairs(base, tmp_path / "pairs.jsonl", [*_lines(2), line])
    with pytest.raises(ConfigError, match="2 or more"):
        _pairs(base, tmp_path / "pairs.jsonl", _lines(1))


def test_the_loss_is_that_of_the_paper() -> None:
    documents = torch.tensor([[0, 0, 1, 1, -1]])
    batch = Batch(documents * 0, documents * 0, documents, documents < 0)
    reference = torch.tensor([[0.0, 2.0, 0.0, 1.0, 0.0]])
    policy = torch.tensor([[0.0, 1.5, 0.0, 1.25, 0.0]])
    objective = Preference(lambda _: reference, beta=0.5)
    # The chosen text became likelier by 0.5 nats, the rejected one less likely by 0.25.
    loss = objective.loss(lambda _: policy, batch)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-0.5 * 0.75)))
    assert int(objective.weight(batch)) == 1
    assert float(objective.loss(lambda _: reference, batch)) == pytest.approx(math.log(2))


def test_a_model_comes_to_prefer_what_was_chosen(base: Path, tmp_path: Path) -> None:
    from training.scoring import Scored

    def scored() -> Any:
        model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        return _masked(Scored(model, "fp32"))

    policy, before = scored(), scored()
    pairs = _pairs(base, tmp_path / "pairs.jsonl", _lines(40))
    objective = Preference(before.nats, beta=0.1)
    optimizer = torch.optim.AdamW(policy.scored.parameters(), 1e-3)
    losses = []
    for step in range(12):
        batch = Batch.of(pairs.batch(step, 8), torch.device("cpu"))
        loss = objective.loss(policy.nats, batch) / len(batch)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4)
    assert losses[-1] < 0.5 * losses[0]


class _masked:
    """A scored model whose rows' texts do not see each other."""

    def __init__(self, scored: Any) -> None:
        self.scored = scored

    def nats(self, batch: Batch) -> Any:
        told = self.scored(batch.inputs_BT, batch.targets_BT, batch.documents_BT, batch.prefixes_BT)
        return told.view_as(batch.targets_BT)
