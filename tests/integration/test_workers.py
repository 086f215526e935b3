"""Several gateway processes on one socket: one may die, all are counted, none is left behind."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tabwright.artifact import ModelArtifact
from tests.fakes.served import PATIENCE_S, Served, serve_command

BODY = {"prompt": "x = ", "suffix": "", "max_tokens": 3, "temperature": 0}
RAW = {"X-Tabwright-Typeahead": "off", "X-Tabwright-Postprocess": "off"}


@pytest.fixture
def served(tiny: ModelArtifact, tmp_path: Path) -> Iterator[Served]:
    config = tmp_path / "tabwright.toml"
    config.write_text('[server]\nlog_format = "json"\n')
    flags = ("--workers", "2", "--config", str(config))
    with serve_command(tiny.path, tmp_path, *flags) as run:
        yield run


def workers(served: Served) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(served.process.pid).children()
    return found


def ask(served: Served, **headers: str) -> int:
    """The status of one completion on a connection of its own; 0 for a broken one."""
    try:
        url = f"{served.url}/v1/completions"
        return httpx.post(url, json=BODY, headers=RAW | headers, timeout=PATIENCE_S).status_code
    except httpx.TransportError:
        return 0


def counted(served: Served, name: str) -> float:
    text = httpx.get(f"{served.url}/metrics", timeout=PATIENCE_S).text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))


def metrics_folder(process: psutil.Process) -> Path:
    return Path(process.environ()["PROMETHEUS_MULTIPROC_DIR"])


def test_a_killed_worker_is_replaced_while_requests_are_answered(served: Served) -> None:
    first = workers(served)
    assert len(first) == 2
    assert [ask(served) for _ in range(10)] == [200] * 10
    assert counted(served, "tabwright_requests_total") == 10
    victim = first[0]
    victim.send_signal(signal.SIGKILL)
    statuses = [ask(served) for _ in range(20)]
    assert statuses.count(200) >= 19, "at most the connection that it had accepted is lost"

    def replaced() -> bool:
        now = workers(served)
        return len(now) == 2 and victim.pid not in {process.pid for process in now}

    served.wait(replaced, "another worker")
    died = served.wait_lines(lambda line: line["message"].startswith("a worker died"))
    assert died[0]["exit_code"] == -signal.SIGKILL
    assert counted(served, "tabwright_requests_total") >= 29, "what the dead one counted stays"
    served.wait(lambda: counted(served, "tabwright_engine_kv_blocks_total") > 0, "gauges")
    folder = metrics_folder(first[1])
    assert not list(folder.glob(f"gauge_live*_{victim.pid}.db"))


def test_every_worker_answers_metrics_for_all_and_gauges_are_summed(served: Served) -> None:
    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(ask, served, **{"X-Tabwright-Delay-Ms": "1500"}) for _ in range(12)]
        assert [job.result() for job in waiting] == [200] * 12
    seen = {counted(served, "tabwright_requests_total") for _ in range(10)}
    assert seen == {12.0}
    one = counted(served, "tabwright_engine_kv_blocks_total") / 2
    assert one == int(one) > 0


def test_a_stop_signal_drains_every_worker_and_leaves_nothing(
    tiny: ModelArtifact, tmp_path: Path
) -> None:
    with serve_command(tiny.path, tmp_path, "--workers", "2", "--speculate") as served:
        everyone = served.processes()
        folder = metrics_folder(everyone[1])
        assert folder.is_dir()
        with ThreadPoolExecutor(8) as pool:
            delay = {"X-Tabwright-Delay-Ms": "1000"}
            under_way = [pool.submit(ask, served, **delay) for _ in range(8)]
            time.sleep(0.5)
            served.process.send_signal(signal.SIGTERM)
            assert [job.result() for job in under_way] == [200] * 8
        assert served.process.wait(PATIENCE_S) == 0
        assert not psutil.wait_procs(everyone, timeout=PATIENCE_S)[1]
        assert not folder.exists()


def test_workers_of_a_killed_parent_end_by_themselves(tiny: ModelArtifact, tmp_path: Path) -> None:
    with serve_command(tiny.path, tmp_path, "--workers", "2") as served:
        everyone = served.processes()
        folder = metrics_folder(everyone[1])
        served.process.kill()
        assert not psutil.wait_procs(everyone, timeout=PATIENCE_S)[1]
        assert not folder.exists()


def test_a_changed_configuration_reaches_every_worker(served: Served, tmp_path: Path) -> None:
    config = tmp_path / "tabwright.toml"
    config.write_text('[server]\nlog_format = "json"\nmax_choices = 1\nport = 1\n')
    served.process.send_signal(signal.SIGHUP)
    served.wait_lines(lambda line: line.get("changed") == "max_choices")
    two = BODY | {"n": 2, "temperature": 1}

    def refused() -> bool:
        answers = [httpx.post(f"{served.url}/v1/completions", json=two) for _ in range(8)]
        return {answer.status_code for answer in answers} == {400}

    served.wait(refused, "both know")
    assert len(workers(served)) == 2


def test_what_keeps_a_worker_from_starting_ends_the_command(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="manifest"),
        serve_command(tmp_path, tmp_path, "--workers", "2"),
    ):
        pass


def test_threads_are_split_between_workers() -> None:
    from server.settings import ServerSettings

    def threads(**values: Any) -> object:
        return ServerSettings.model_validate(values).engine_options()["threads"]

    cores = len(os.sched_getaffinity(0))
    assert threads() == 0
    assert threads(workers=2) == max(1, cores // 2)
    assert threads(workers=64) == 1
    assert threads(workers=2, threads=3) == 3
