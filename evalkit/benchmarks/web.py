"""Web: our own small tasks of pages, in HTML, CSS and scripts, looked at in a browser.

Each `.toml` file beside this one, in `web/`, is a task (see `evalkit.web_task`): the text, a page
that does it, wrong pages, and what is tried and looked at. Written in November 2026, after the data
of the models of that time was collected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from evalkit.problem import Problem
from evalkit.rendering import page_prompt
from evalkit.runtimes import load_runtime
from evalkit.web_task import WebTask, read_task
from tabwright.errors import InvalidRequest, UnknownLanguage

LANGUAGE = "html"
_ENDING = ".toml"


class Web:
    """The benchmark."""

    name = "web"
    languages = (LANGUAGE,)
    left_out: Mapping[str, str] = MappingProxyType({})

    def __init__(self, path: Path | None = None) -> None:
        """Read the bundled tasks, or those of a folder of the same form.

        Raises:
            InvalidRequest: the folder cannot be used.
        """
        folder = path or resources.files("evalkit.benchmarks") / "web"
        try:
            files = [file for file in folder.iterdir() if file.name.endswith(_ENDING)]
        except OSError as error:
            raise InvalidRequest("path", str(folder), f"give a folder of tasks: {error}") from None
        if not files:
            raise InvalidRequest("path", str(folder), f"give a folder with {_ENDING} files")
        self._tasks = sorted(map(read_task, files), key=lambda task: task.id)

    def problems(self, language: str) -> Sequence[Problem]:
        """All tasks; they are of pages only."""
        if language != LANGUAGE:
            raise UnknownLanguage(f"{self.name} has no problems in {language!r}; it has {LANGUAGE}")
        return [page_problem(task) for task in self._tasks]


def page_problem(task: WebTask, language: str = LANGUAGE) -> Problem:
    """Make the problem of a task: a page to be continued from its first line."""
    runtime = load_runtime(language)
    return Problem(
        task_id=task.id,
        language=language,
        prompt=page_prompt(task.text, runtime),
        stop=runtime.prompt.stop,
        reference=task.reference,
        entry_point=task.name,
        tests={"web": task, "mutants": task.mutants},
    )
