"""Live options are taken over, the others stay, and whoever follows is told."""

from __future__ import annotations

from server.live_settings import Change, LiveSettings
from server.settings import LIVE_OPTIONS, ServerSettings


def settings(**values: object) -> ServerSettings:
    return ServerSettings.model_validate(values)


def test_every_live_option_is_an_option() -> None:
    assert set(ServerSettings.model_fields) > LIVE_OPTIONS


def test_live_options_are_taken_over_and_the_others_named() -> None:
    live = LiveSettings(settings(deadline_s=5))
    change = live.replace(settings(deadline_s=7, max_running=3, lines="multi"))
    assert change == Change(applied=("deadline_s", "lines"), stuck=("max_running",))
    assert live.now == settings(deadline_s=7, lines="multi")


def test_followers_hear_of_the_start_and_of_changes_only() -> None:
    live = LiveSettings(settings())
    heard: list[float] = []
    live.follow(lambda now: heard.append(now.deadline_s))
    live.replace(settings())
    live.replace(settings(port=1))
    live.replace(settings(deadline_s=7))
    assert heard == [60, 7]


def test_an_option_that_is_left_out_again_has_its_default_again() -> None:
    live = LiveSettings(settings(deadline_s=7))
    live.replace(settings())
    assert live.now.deadline_s == 60
