"""Do adapters train alone, merge exactly, and read as PEFT's do?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tabwright.cli import main as tabwright  # noqa: E402
from tabwright.errors import ConfigError  # noqa: E402
from tests.fakes.tiny_artifact import make_tiny_artifact  # noqa: E402
from training.adapters import AdaptedLinear, adapt, read_adapter, write_adapter  # noqa: E402
from training.config import AdapterSection  # noqa: E402
from training.export.lora import read_lora  # noqa: E402
from training.export.source import read_source  # noqa: E402
from training.merging import fold, merge  # noqa: E402
from training.nf4 import dequantized, levels, quantized  # noqa: E402

# Appendix E of the paper on QLoRA.
PUBLISHED = [
    -1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0,
    0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0,
]  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny"
    make_tiny_artifact(folder, dtype="F32")
    return folder


def _model(base: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


def _trained(base: Path, section: AdapterSection) -> tuple[Any, list[float]]:
    """A model whose adapter learnt ten steps of one text."""
    torch.manual_seed(0)
    model = _model(base)
    adapt(model, section)
    moving = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moving, 0.01)
    ids = torch.arange(10, 74)[None]
    losses = []
    for _ in range(10):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return model.eval(), losses


def _logits(model: Any) -> Any:
    with torch.no_grad():
        return model(input_ids=torch.arange(60)[None]).logits


def test_the_levels_are_those_that_were_published() -> None:
    assert levels().tolist() == pytest.approx(PUBLISHED, abs=1e-6)


def test_every_level_comes_back_and_each_weight_becomes_the_nearest() -> None:
    exact = torch.stack([levels().repeat(4) * scale for scale in (1.0, 0.02, 30.0)])
    assert torch.equal(dequantized(quantized(exact)), exact)
    weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    stored = quantized(weight)
    assert stored.packed.numel() == weight.numel() // 2
    scaled = weight.reshape(-1, 64) / stored.largest[:, None]
    nearest = (scaled[..., None] - levels()).abs().min(dim=-1).values * stored.largest[:, None]
    error = (dequantized(stored) - weight).abs().reshape(-1, 64)
    assert torch.allclose(error, nearest, atol=1e-6)
    assert torch.equal(dequantized(quantized(torch.zeros(1, 64))), torch.zeros(1, 64))


@pytest.mark.parametrize("kind", ["full", "nf4"])
def test_only_the_adapter_learns(base: Path, kind: Any) -> None:
    section = AdapterSection(rank=4, base=kind)
    fresh = _model(base)
    names = adapt(fresh, section)
    assert len(names) == 14
    kept = {n: p for n, p in fresh.named_parameters() if ".lora_" not in n}
    model, losses = _trained(base, section)
    assert losses[-1] < losses[0] - 0.1
    for name, parameter in model.named_parameters():
        assert ".lora_" in name or torch.equal(parameter, kept[name])
    if kind == "full":
        assert torch.equal(_logits(fresh), _logits(_model(base)))  # before training it adds nothing


def test_a_quantised_layer_has_the_gradients_of_its_dequantised_matrix() -> None:
    torch.manual_seed(1)
    plain = torch.nn.Linear(64, 32)
    model = torch.nn.Sequential(plain)
    adapt(torch.nn.ModuleDict({"q_proj": plain}), AdapterSection(modules=("q_proj",)))
    holder = torch.nn.ModuleDict({"q_proj": model[0]})
    adapt(holder, AdapterSection(rank=2, modules=("q_proj",), base="nf4"))
    layer = holder["q_proj"]
    assert isinstance(layer, AdaptedLinear)
    given = torch.randn(5, 64, requires_grad=True)
    layer(given).square().sum().backward()
    again = given.detach().clone().requires_grad_()
    (again @ layer.base_weight().T + plain.bias).square().sum().backward()
    assert torch.allclose(given.grad, again.grad, atol=1e-4)


@pytest.mark.parametrize("kind", ["full", "nf4"])
def test_merged_and_beside_the_base_it_says_the_same(base: Path, tmp_path: Path, kind: Any) -> None:
    section = AdapterSection(rank=4, base=kind)
    model, _ = _trained(base, section)
    write_adapter(model.state_dict(), section, tmp_path / "adapter")
    told = merge(base, tmp_path / "adapter", tmp_path / "merged")
    assert max(told.merged, told.saved) <= 1e-5 * told.largest_logit
    beside = _logits(model)
    allowed = 1e-5 * float(beside.abs().max())
    assert float((beside - _logits(_model(tmp_path / "merged"))).abs().max()) <= allowed
    assert float((beside - _logits(_model(base))).abs().max()) > 0.05
    if kind == "nf4":  # the original base is another one than the adapter was trained beside
        assert told.original is not None
        assert told.merged < told.original / 100
    fold(model)
    assert float((beside - _logits(model)).abs().max()) <= allowed
    assert json.loads((tmp_path / "merged" / "merge.json").read_text())["base"] == kind


@pytest.mark.parametrize("kind", ["full", "nf4"])
def test_computed_in_float64_every_logit_stays_within_1e_5(base: Path, kind: Any) -> None:
    """Where rounding is no excuse; float32 alone is off by 1e-5 of a logit of 5."""
    model, _ = _trained(base, AdapterSection(rank=4, base=kind))
    model.double()
    beside = _logits(model)
    fold(model)
    merged = _logits(model)
    assert merged.dtype == torch.float64
    assert float(beside.abs().max()) > 1
    assert float((beside - merged).abs().max()) <= 1e-5


def test_the_export_reads_the_adapter(base: Path, tmp_path: Path) -> None:
    section = AdapterSection(rank=4, modules=("q_proj", "down_proj"))
    model, _ = _trained(base, section)
    write_adapter(model.state_dict(), section, tmp_path / "adapter")
    found = read_lora("mine", tmp_path / "adapter", read_source(base))
    assert (found.rank, found.alpha, len(found.modules)) == (4, 32.0, 4)
    again, tensors = read_adapter(tmp_path / "adapter")
    assert again.model_dump() == {**section.model_dump(), "modules": ("down_proj", "q_proj")}
    assert set(tensors) < set(model.state_dict())


def test_an_adapter_of_another_model_is_refused_by_name(base: Path, tmp_path: Path) -> None:
    section = AdapterSection(rank=4, modules=("q_proj",))
    model, _ = _trained(base, section)
    state = {name.replace("layers.1", "layers.7"): t for name, t in model.state_dict().items()}
    write_adapter(state, section, tmp_path / "adapter")
    with pytest.raises(ConfigError, match=r"layers\.[17]"):
        merge(base, tmp_path / "adapter", tmp_path / "merged")
    with pytest.raises(ConfigError, match="no experts"):
        adapt(_model(base), AdapterSection(modules=("experts",)))
    assert not (tmp_path / "merged").exists()


def test_the_command_merges_and_says_what_it_changed(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    section = AdapterSection(rank=4, base="nf4")
    write_adapter(_trained(base, section)[0].state_dict(), section, tmp_path / "adapter")
    verb = ["train", "merge", "--base", str(base), "--adapter", str(tmp_path / "adapter")]
    assert tabwright([*verb, "--out", str(tmp_path / "merged")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["merged"] <= 1e-5 * told["largest_logit"]
    assert tabwright([*verb, "--out", str(tmp_path / "merged")]) == 2
