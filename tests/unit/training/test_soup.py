"""Is a soup the mean of its models, and is what does not belong together refused?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402

from tabwright.artifact import file_digest, write_json  # noqa: E402
from tabwright.cli import main as tabwright  # noqa: E402
from tests.fakes.tiny_artifact import make_tiny_artifact  # noqa: E402


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models of one shape, `c` as a run's checkpoint."""
    root = tmp_path_factory.mktemp("soup")
    make_tiny_artifact(root / "a", dtype="F32")
    (root / "a" / "manifest.json").unlink()
    for number, name in enumerate(("b", "c/model"), 1):
        shutil.copytree(root / "a", root / name)
        weights = root / name / "model.safetensors"
        noisy = {key: t + number * torch.randn_like(t) for key, t in load_file(weights).items()}
        save_file(noisy, weights, metadata={"format": "pt"})
    files = sorted(file for file in (root / "c").rglob("*") if file.is_file())
    digests = {str(file.relative_to(root / "c")): file_digest(file) for file in files}
    write_json(root / "c" / "manifest.json", {"step": 4, "memory": {}, "files": digests})
    return root


def soup(models: Path, out: Path, *words: str) -> int:
    given = [word if word.startswith("-") or "." in word else str(models / word) for word in words]
    return tabwright(["train", "soup", "--checkpoints", *given, "--out", str(out)])


def test_a_soup_is_the_mean_and_loads(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "mean"
    assert soup(models, out, "a", "b", "c", "--shares", "1.0", "2.0", "5.0") == 0
    a, b, c = (load_file(models / n / "model.safetensors") for n in ("a", "b", "c/model"))
    for name, found in load_file(out / "model.safetensors").items():
        expected = (a[name].double() + 2 * b[name].double() + 5 * c[name].double()) / 8
        assert torch.equal(found, expected.float())
    told = json.loads((out / "soup.json").read_text("utf-8"))
    assert list(told["shares"].values()) == [0.125, 0.25, 0.625]
    model = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    assert model(torch.arange(9)[None]).logits.isfinite().all()


def test_equal_shares_are_the_default(models: Path, tmp_path: Path) -> None:
    assert soup(models, tmp_path / "ab", "a", "b") == 0
    one, other, mean = (
        load_file(folder / "model.safetensors")
        for folder in (models / "a", models / "b", tmp_path / "ab")
    )
    assert all(torch.allclose(mean[name], (one[name] + other[name]) / 2) for name in mean)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a"], "two or more"),
        (["a", "b", "--shares", "1.0"], "as many --shares"),
        (["a", "b", "--shares", "1.0", "-1.0"], "above 0"),
        (["a", "nowhere"], "has no model.safetensors"),
        (["a", "other"], "differs from the first's"),
        (["a", "vocabulary"], "tokenizer.json differs"),
        (["adapter", "adapter"], "merge first"),
        (["a", "damaged"], "was altered"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    for name in ("other", "vocabulary", "adapter"):
        shutil.copytree(models / "a", models / name, dirs_exist_ok=True)
    shutil.copytree(models / "c", models / "damaged", dirs_exist_ok=True)
    save_file({"other": torch.zeros(2)}, models / "other" / "model.safetensors")
    save_file({"x.lora_A.weight": torch.zeros(2)}, models / "adapter" / "model.safetensors")
    (models / "vocabulary" / "tokenizer.json").write_text("{}")
    save_file({"other": torch.zeros(2)}, models / "damaged" / "model" / "model.safetensors")
    assert soup(models, tmp_path / "out", *words) != 0
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
