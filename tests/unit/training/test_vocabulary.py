"""Does our own vocabulary lose nothing, and does it hold more code than one of prose?"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from tabwright.cli import main as tabwright
from tabwright.errors import ConfigError
from tabwright.fim import FAMILIES
from tabwright.tokenizer import Tokenizer
from training.data.config import read_config
from training.data.encoding import Encoder
from training.data.engines.local import open_engine
from training.data.pipeline import build
from training.data.run import Run, open_run, read_run
from training.fertility import fertility

_SENTINELS = (*FAMILIES["tabwright"].sentinels, *FAMILIES["tabwright"].stop)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("vocabulary")
    (root / "code").mkdir()
    for number in range(6):
        rows = [f"def area_{number}_{i}(width):\n    return width * {i}\n" for i in range(30)]
        (root / "code" / f"m{number}.py").write_text("\n".join(rows))
    (root / "data.toml").write_text(
        f'[[source]]\nkind = "folder"\nname = "code"\nfolder = "{root / "code"}"\n'
        'licence = "MIT"\n[tokenizer]\nvocab_size = 600\n[dedup]\nnear = false\n'
        '[contamination]\nbenchmarks = ["core"]\n'
    )
    found = open_run(root / "run", read_config(root / "data.toml"))
    with open_engine(workers=1) as engine:
        build(engine, found)
    return found


@pytest.fixture(scope="module")
def tokenizer(run: Run) -> Tokenizer:
    return Tokenizer.from_file(run.folder / "tokenizer.json")


@given(st.binary(max_size=200))
def test_every_byte_string_that_is_text_survives(tokenizer: Tokenizer, raw: bytes) -> None:
    text = raw.decode("utf-8", "replace")
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.fixture(scope="module")
def encoder(run: Run) -> Encoder:
    return Encoder((run.folder / "tokenizer.json").read_text("utf-8"))


_ANY = st.text(max_size=80)
_BLANKS_AND_QUOTES = st.text(alphabet=" \t\n\r\v\f\x1c\x85\u00a0\u2028aSs'tl10_<|>é中", max_size=60)


@given(st.one_of(_ANY, _BLANKS_AND_QUOTES))
def test_shards_are_encoded_as_the_tokenizer_encodes(
    tokenizer: Tokenizer, encoder: Encoder, text: str
) -> None:
    assert encoder.encode(text).tolist() == tokenizer.encode(text)


def test_real_code_is_encoded_as_the_tokenizer_encodes(
    tokenizer: Tokenizer, encoder: Encoder
) -> None:
    for file in sorted(Path(json.__file__).parent.glob("*.py")):
        text = file.read_text("utf-8") + "\nä = 'ß'\n"
        assert encoder.encode(text).tolist() == tokenizer.encode(text)


@pytest.mark.parametrize(
    "text",
    [
        "a\r\nb\r\n",
        "\t\t x\t",
        "👩‍👩‍👧 naïve 中文",
        " " * 97,
        "0123456789" * 9,
        "\x00\x7f",
        *_SENTINELS,
    ],
)
def test_line_ends_tabs_emoji_and_sentinels_as_text_survive(
    tokenizer: Tokenizer, text: str
) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_own_vocabulary_holds_more_code_in_a_token_than_one_of_prose(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prose = "The quick brown fox jumps over the lazy dog and thinks about other animals. "
    (tmp_path / "page.md").write_text(prose * 200)
    (row,) = fertility(run, tmp_path)
    assert row.language == "python"
    assert row.own > 1.5 * row.prose > 0
    words = ["train", "tokenizer", "--run", str(run.folder), "--prose", str(tmp_path), "--json"]
    assert tabwright(words) == 0
    assert json.loads(capsys.readouterr().out)[0]["own"] == row.own


@pytest.mark.parametrize("names", [("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")])
def test_the_files_of_gpt2_are_read_where_they_are(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: tuple[str, str]
) -> None:
    (tmp_path / "page.md").write_text("The quick brown fox. " * 200)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: at for at, token in enumerate([*alphabet, "re", "tu", "retu"])}
    (tmp_path / names[0]).write_text(json.dumps(vocabulary))
    (tmp_path / names[1]).write_text("#version: 0.2\nr e\nt u\nre tu\n")
    (row,) = fertility(run, tmp_path, tmp_path)
    texts = [row["text"] for row in pq.read_table(run.folder / "clean").to_pylist()]
    size = sum(map(len, texts))
    merged = sum(3 * text.count("return") + text.count("area") for text in texts)
    assert row.gpt2 == size / (size - merged)
    words = ["train", "tokenizer", "--run", str(run.folder), "--prose", str(tmp_path)]
    assert tabwright([*words, "--gpt2", str(tmp_path)]) == 0
    assert f"{row.gpt2:.2f}" in capsys.readouterr().out


def test_files_that_are_not_those_of_gpt2_are_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("The quick brown fox. " * 200)
    with pytest.raises(ConfigError, match="neither encoder"):
        fertility(run, tmp_path, tmp_path)
    (tmp_path / "encoder.json").write_text('{"a": 0}')
    (tmp_path / "vocab.bpe").write_text("r e\n")
    with pytest.raises(ConfigError, match="--gpt2"):
        fertility(run, tmp_path, tmp_path)


def test_a_folder_without_prose_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--prose"):
        fertility(run, tmp_path)
    (tmp_path / "plan.json").write_text((run.folder / "plan.json").read_text())
    with pytest.raises(ConfigError, match="no vocabulary yet"):
        fertility(read_run(tmp_path), tmp_path)
