"""What lies in sandboxes/ agrees with itself."""

from __future__ import annotations

import pytest

from evalkit.runtimes import FOLDER, load_runtime, runtime_names
from tests.repository.dockerfiles import dockerfile, render


@pytest.mark.parametrize("name", runtime_names())
def test_the_dockerfile_installs_what_the_runtime_names(name: str) -> None:
    runtime = load_runtime(name)
    written = dockerfile(runtime).read_text(encoding="utf-8")
    assert written == render(runtime), "run `python -m tests.repository.dockerfiles`"


def test_every_folder_is_a_language_and_holds_no_code_of_ours() -> None:
    folders = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
    assert folders == runtime_names()
    assert not list(FOLDER.rglob("*.py"))
