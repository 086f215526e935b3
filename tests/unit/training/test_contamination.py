"""Are a benchmark's tasks found in the data, in other dress too, and is other code left alone?"""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

import pytest

from evalkit.benchmarks.core import Core
from evalkit.contamination import Contamination as Met
from evalkit.registry import load_benchmark
from tabwright.errors import ConfigError
from training.data.benchmarks import Index, Task, load_index
from training.data.config import Contamination, read_config
from training.data.engines.local import open_engine
from training.data.explanation import explain
from training.data.pipeline import build
from training.data.run import Run, open_run

_OTHER = '''
class Basket:
    """What a customer wants, line by line."""

    def __init__(self, owner):
        self.owner, self.lines = owner, []

    def add(self, product, amount=1):
        self.lines.append((product, amount))
'''


@pytest.fixture(scope="module")
def index() -> Index:
    return load_index(Contamination())


def test_every_whole_task_is_found_by_its_name(index: Index) -> None:
    for language in ("python", "go", "rust"):
        for problem in Core().problems(language):
            found = index.find(_OTHER + problem.prompt + (problem.reference or "") + _OTHER)
            assert Task("core", problem.task_id, "prompt") in found


def test_fifty_planted_solutions_are_all_found(index: Index) -> None:
    """Indented anew, with other line ends, between other code, without the docstring."""
    planted = 0
    humaneval = load_benchmark("humaneval").problems("python")
    for problem in humaneval:
        code = problem.prompt.replace("'''", '"""').split('"""')
        whole = "".join(code[::2]) + (problem.reference or "")
        if planted == 50 or len(whole.split()) < 30 or "import" in code[0]:
            continue
        dressed = whole.replace("    ", "\t").replace("\n", "\r\n").replace("==", " == ")
        found = index.find(_OTHER + dressed + _OTHER)
        met = {(task.benchmark, task.task_id) for task in found}
        assert ("humaneval", problem.task_id) in met, problem.task_id
        planted += 1
    assert planted == 50


def test_a_solution_with_a_changed_line_is_found_as_near(index: Index) -> None:
    changed = 0
    for problem in load_benchmark("humaneval").problems("python"):
        reference = problem.reference or ""
        if reference.count("\n") > 14:
            lines = reference.split("\n")
            kinds = {
                task.kind
                for task in index.find("\n".join([*lines[:-3], "    done = 1", *lines[-2:]]))
                if task.task_id == problem.task_id
            }
            assert "near" in kinds, problem.task_id
            changed += 1
    assert changed > 3


def test_code_that_was_there_before_is_left_alone(index: Index) -> None:
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(
        p for folder in (root, root / "asyncio", root / "json") for p in folder.glob("*.py")
    )
    assert len(files) > 150
    assert [file for file in files if index.find(file.read_text("utf-8", "replace"))] == []
    assert index.find("def add(x: int, y: int):\n    return x + y\n") == []


def test_what_the_configuration_allows_is_not_looked_for() -> None:
    problem = Core().problems("python")[0]
    prompt = Task("core", problem.task_id, "prompt")
    assert prompt in load_index(Contamination(benchmarks=("core",))).find(problem.prompt)
    allowed = Contamination(benchmarks=("core",), allow=(problem.prompt,))
    assert prompt not in load_index(allowed).find(problem.prompt)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (Contamination(benchmarks=("mbpp",)), "mbpp"),
        (Contamination(benchmarks=("nonsense",)), "nonsense"),
        (Contamination(files={"nonsense": Path("x")}), "nonsense"),
    ],
)
def test_a_named_benchmark_that_is_not_there_stops_the_run(
    config: Contamination, named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        load_index(config)


def _build(root: Path, more: str = "") -> Run:
    (root / "code").mkdir()
    (root / "code" / "other.py").write_text(_OTHER)
    task = Core().problems("python")[0]
    (root / "code" / "met.py").write_text(f"{_OTHER}\n{task.prompt}{task.reference}\n")
    config = (
        f'[[source]]\nkind = "folder"\nname = "code"\nfolder = "{root / "code"}"\n'
        f'licence = "MIT"\n[tokenizer]\nvocab_size = 600\n[splits]\nheld_out_share = 0\n{more}'
    )
    (root / "data.toml").write_text(config)
    run = open_run(root / "run", read_config(root / "data.toml"))
    with open_engine(workers=1) as engine:
        build(engine, run)
    return run


def test_a_document_that_holds_a_task_is_dropped_with_the_task_named(tmp_path: Path) -> None:
    run = _build(tmp_path)
    (row,) = explain(run, "path", "met.py")
    assert row["fate"] == "contamination"
    task = Core().problems("python")[0].task_id
    assert {"tag": "contamination", "evidence": f"core {task} prompt", "drops": True} in row["tags"]
    assert json.loads((run.folder / "shards" / "contamination.json").read_text()) == {"hits": []}
    ledger = json.loads((run.folder / "ledger.json").read_text())
    assert ledger["contamination"]["met"]["core"] == {"tasks_read": 1, "tasks_kept": 0}


def test_evalkit_reads_what_a_kept_document_holds(tmp_path: Path) -> None:
    run = _build(tmp_path, "[filters]\ndrop = []\n")
    (row,) = explain(run, "path", "met.py")
    assert row["fate"] == "kept"
    met = Met.read(run.folder / "shards" / "contamination.json", "core")
    task = Core().problems("python")[0].task_id
    assert list(met.by_task) == [task]
    assert {hit.kind for hit in met.by_task[task]} >= {"prompt"}
    assert met.by_task[task][0].evidence == (row["id"],)
