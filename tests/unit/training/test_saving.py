"""Is a checkpoint whole or absent, whatever the disk does, and the newest good one found?"""

from __future__ import annotations

import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from training.checkpoint import check_checkpoint, latest_checkpoint  # noqa: E402
from training.config import CheckpointSection  # noqa: E402
from training.distributed import process_group  # noqa: E402
from training.saving import Saver, restore  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


class Saved:
    """A model of a few numbers and its saver."""

    def __init__(self, folder: Path, config: CheckpointSection) -> None:
        shape = transformers.LlamaConfig(
            vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
            num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
        )  # fmt: skip
        self.model = transformers.LlamaForCausalLM(shape)
        self.folder = folder / "checkpoints"
        self.folder.mkdir()
        tokenizer = folder / "tokenizer.json"
        tokenizer.write_text("{}")
        self.saver = Saver(self.folder, config, self.model, tokenizer)

    def state(self) -> dict[str, Any]:
        return {f"model.{name}": p.detach() for name, p in self.model.named_parameters()}

    def save(self, step: int) -> None:
        self.saver.save(step, self.state(), memory={"consumed": str(step)})

    def steps(self) -> list[int]:
        return sorted(check_checkpoint(found) for found in self.folder.glob("step-*"))


@contextmanager
def _saved(folder: Path, **config: object) -> Iterator[Saved]:
    with process_group():
        saved = Saved(folder, CheckpointSection.model_validate(config))
        yield saved
        saved.saver.close()


@contextmanager
def _disk_of(bytes_: int) -> Iterator[None]:
    """No file may grow beyond `bytes_`: a write then fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_what_is_saved_is_the_state_when_it_was_asked_for(tmp_path: Path) -> None:
    with _saved(tmp_path) as saved:
        asked = {name: tensor.clone() for name, tensor in saved.state().items()}
        saved.save(1)
        for tensor in saved.state().values():
            tensor.zero_()  # training goes on while the thread writes
        assert saved.saver.wait()
        restore(saved.folder / "step-00000001", found := saved.state())
        assert all(torch.equal(found[name], asked[name]) for name in asked)


def test_a_full_disk_costs_a_checkpoint_and_not_the_run(tmp_path: Path) -> None:
    with _saved(tmp_path) as saved:
        saved.save(1)
        assert saved.saver.wait()
        with _disk_of(2000):
            saved.save(2)
            assert not saved.saver.wait()
        assert [found.name for found in saved.folder.iterdir()] == ["step-00000001"]
        saved.save(3)
        assert saved.saver.wait()
        assert saved.steps() == [1, 3]


def test_the_newest_and_every_nth_stay(tmp_path: Path) -> None:
    with _saved(tmp_path, keep=2, keep_every=4) as saved:
        for step in range(2, 13, 2):
            saved.save(step)
        saved.saver.wait()
        assert saved.steps() == [4, 8, 10, 12]


def test_a_checkpoint_with_any_byte_changed_is_passed_over(tmp_path: Path) -> None:
    with _saved(tmp_path) as saved:
        saved.save(1)
        saved.save(2)
        saved.saver.wait()
        newest = saved.folder / "step-00000002"
        for file in [f for f in newest.rglob("*") if f.is_file() and f.name != "manifest.json"]:
            body = file.read_bytes()
            file.write_bytes(bytes([body[0] ^ 1]) + body[1:])
            found = latest_checkpoint([saved.folder])
            assert found is not None
            assert found.name == "step-00000001", file
            file.write_bytes(body)
        assert latest_checkpoint([saved.folder]) == newest


def test_the_copy_in_the_second_place_serves_when_the_first_is_lost(tmp_path: Path) -> None:
    second = tmp_path / "other" / "disk"
    with _saved(tmp_path, second=second, keep=1) as saved:
        saved.save(1)
        saved.save(2)
        saved.saver.wait()
        shutil.rmtree(saved.folder / "step-00000002")
        assert latest_checkpoint([saved.folder, second]) == second / "step-00000002"
        assert [found.name for found in second.iterdir()] == ["step-00000002"]


def test_a_second_place_that_cannot_be_written_costs_the_copy_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with _saved(tmp_path, second=tmp_path / "file") as saved:
        saved.save(1)
        assert saved.saver.wait()
        assert saved.steps() == [1]
