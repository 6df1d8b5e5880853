"""Settings that change while they are in use."""

from __future__ import annotations

import pytest

from imagemill.settings.groups import MillSettings
from imagemill.settings.live import ChangeRefused, Live, LiveSettings, NotChangeable, WrongValues
from imagemill.settings.loading import defaults
from imagemill.settings.origins import Layer


def test_followers_hear_of_a_change_for_as_long_as_they_follow() -> None:
    live, heard = Live(1), list[int]()

    with live.followed_by(heard.append):
        live.change(2)
    live.change(3)

    assert (heard, live.value) == ([2], 3)


def test_a_change_that_one_refuses_is_taken_back_from_the_others() -> None:
    live, heard = Live(1), list[int]()

    def refuse(value: int) -> None:
        raise ChangeRefused("It is too much.")

    with live.followed_by(heard.append), live.followed_by(refuse), pytest.raises(ChangeRefused):
        live.change(2)

    assert (heard, live.value) == ([2, 1], 1)


def test_an_update_changes_values_and_origins_of_what_is_named() -> None:
    settings = LiveSettings(defaults(MillSettings))

    settings.update({"downloads": "20", "log_level": "DEBUG"})

    assert settings.resolved.values == MillSettings(downloads=20, log_level="debug")
    assert settings.values.value == settings.resolved.values
    changed = [name for name, origin in settings.resolved.origins.items() if origin.layer is Layer.CHANGED]
    assert sorted(changed) == ["downloads", "log_level"]


def test_an_update_changes_all_or_nothing_and_says_all_that_is_wrong() -> None:
    settings = LiveSettings(defaults(MillSettings))

    with pytest.raises(WrongValues) as wrong:
        settings.update({"downloads": "20", "per_host": "0", "downlods": "3", "children": "3"})

    assert wrong.value.problems == {
        "per_host": "connections to one host; give a number from 1 to 1,000.",
        "downlods": "there is no such setting; did you mean downloads?",
        "children": "the processes are started with the mill; set it at the next start",
    }
    assert settings.resolved.values == MillSettings()


def test_what_is_fixed_at_the_start_is_refused_with_the_reason() -> None:
    settings = LiveSettings(defaults(MillSettings))

    with pytest.raises(NotChangeable) as fixed:
        settings.update({"allow_nets": "10.0.0.0/8", "downloads": "20"})

    assert list(fixed.value.problems) == ["allow_nets"]
    assert settings.resolved.values == MillSettings()


def test_a_refused_change_leaves_the_origins_as_they_were() -> None:
    settings = LiveSettings(defaults(MillSettings))

    def refuse(values: MillSettings) -> None:
        raise ChangeRefused("It is too much.")

    with settings.values.followed_by(refuse), pytest.raises(ChangeRefused):
        settings.update({"downloads": "1000"})

    assert settings.resolved.origins["downloads"].layer is Layer.DEFAULT
