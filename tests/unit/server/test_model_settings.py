"""Further models and cohorts are read from TOML, or as JSON from a variable; mistakes stop it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.caller import Caller
from server.settings import ServerSettings
from tabwright.errors import ConfigError
from tabwright.settings import load_settings

TABLE = """
[server]
threads = 2
cohorts = { internal = ["ada"] }
[server.models.next]
model = "m2"
threads = 4
triton_url = "a:1,b:2"
"""


def test_a_further_model_has_its_own_options_and_otherwise_those_of_the_server(
    tmp_path: Path,
) -> None:
    file = tmp_path / "tabwright.toml"
    file.write_text(TABLE)
    settings = load_settings(ServerSettings, "server", {}, {}, file)
    own = settings.of_model("next")
    assert (own.model, own.engine, own.threads) == (Path("m2"), "cpu", 4)
    assert own.triton_url == ("a:1", "b:2")
    assert settings.threads == 2
    assert settings.cohort(Caller("k", "ada")) == "internal"
    assert settings.cohort(Caller("k", "bob")) == ""
    same = ServerSettings.model_validate(settings.model_dump(mode="json"))
    assert same == settings, "workers get it as JSON"
    variable = {"TABWRIGHT_SERVER_MODELS": json.dumps({"next": {"model": "m3"}})}
    assert load_settings(ServerSettings, "server", {}, variable).models["next"].model == Path("m3")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"models": "{"}, "JSON"),
        ({"models": {"a b": {"model": "m"}}}, "name models by letters"),
        ({"models": {"a": {"model": "m", "port": 1}}}, "models"),
        ({"cohorts": {"a": ["ada"], "b": ["ada"]}}, "'ada' is in two cohorts"),
        ({"store": "ab.sqlite", "events_file": "e.jsonl"}, "leave out one of them"),
    ],
)
def test_a_mistake_stops_the_gateway_with_what_to_do(given: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_settings(ServerSettings, "server", given, {})
