"""Settings: three sources, one frozen model, and a start that stops on anything wrong."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from server.settings import ServerSettings
from tabwright.errors import ConfigError
from tabwright.settings import add_flags, load_settings, parse_flags


def load(
    flags: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
    config: Path | None = None,
) -> ServerSettings:
    return load_settings(ServerSettings, "server", flags or {}, environ or {}, config)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_anything_the_gateway_is_for_this_machine_only() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.engine) == ("127.0.0.1", 8123, "cpu")


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    config = tmp_path / "tabwright.toml"
    config.write_text('[server]\nport = 1\nmax_running = 2\nengine = "scripted"\n')
    environ = {"TABWRIGHT_SERVER_PORT": "3", "TABWRIGHT_SERVER_MAX_RUNNING": "4"}
    settings = load({"port": "5"}, environ)
    assert (settings.port, settings.max_running, settings.engine) == (5, 4, "scripted")


def test_a_file_named_by_the_environment_is_read(tmp_path: Path) -> None:
    config = tmp_path / "other.toml"
    config.write_text("[server]\nport = 77\n")
    assert load(environ={"TABWRIGHT_CONFIG": str(config)}).port == 77


def test_an_empty_variable_is_not_set() -> None:
    assert load(environ={"TABWRIGHT_SERVER_PORT": ""}).port == 8123


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nprot = 1\n", r"\[server\] prot: unknown; did you mean 'port'"),
        ("[server]\nport = 99999\n", r"\[server\] port: .*65535 \(got 99999\)"),
        ("[server]\nport = \n", r"line 2"),
        ("server = 3\n", r"must be a table"),
        ("[server]\ndeadline_s = nan\n", r"deadline_s: .*finite"),
    ],
)
def test_a_wrong_file_names_file_key_and_fix(tmp_path: Path, text: str, message: str) -> None:
    config = tmp_path / "mine.toml"
    config.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load(config=config)
    assert "mine.toml" in str(caught.value)


def test_a_missing_file_that_was_named_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(config=tmp_path / "none.toml")


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(ConfigError, match=r"ENGINE: .*'cpu', 'scripted' or 'triton'"):
        load(environ={"TABWRIGHT_SERVER_ENGINE": "gpu"})
    with pytest.raises(ConfigError, match="TABWRIGHT_SERVER_PROT: unknown"):
        load(environ={"TABWRIGHT_SERVER_PROT": "1"})


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_other_machines_need_a_key_or_a_word(host: str) -> None:
    with pytest.raises(ConfigError, match="reachable from other machines"):
        load({"host": host})
    assert load({"host": host, "api_key": "k"}).host == host
    assert load({"host": host, "allow_open": True}).host == host
    assert load({"host": host, "keys_file": "keys.jsonl"}).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.9"])
def test_this_machine_needs_no_key(host: str) -> None:
    assert load({"host": host}).api_key is None


def test_every_field_has_a_flag_and_a_description() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, ServerSettings)
    config, flags = parse_flags(parser, ["--port", "1", "--allow-open", "--config", "x.toml"])
    assert flags == {"port": "1", "allow_open": True}
    assert config == Path("x.toml")
    assert all(field.description for field in ServerSettings.model_fields.values())


def test_the_key_is_not_shown() -> None:
    assert "secret" not in repr(load({"api_key": "secret"}))


def test_no_mistake_shows_the_key(tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("[server]\napi_key = 12345678\n")
    with pytest.raises(ConfigError, match="api_key") as caught:
        load(config=config)
    assert "1234" not in str(caught.value)


@pytest.mark.parametrize("origin", ["*", "ide.example.org", "https://ide.example.org/", "null"])
def test_origins_are_exact(origin: str) -> None:
    with pytest.raises(ConfigError, match="scheme://host"):
        load({"cors_origins": origin})


def test_a_list_is_one_text_with_commas_outside_of_toml() -> None:
    wanted = ("https://a.example", "http://localhost:3000")
    assert (
        load({"cors_origins": " https://a.example, http://localhost:3000,"}).cors_origins == wanted
    )
    assert load({"cors_origins": list(wanted)}).cors_origins == wanted
