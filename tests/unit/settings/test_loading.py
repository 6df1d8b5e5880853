"""Which value counts, where it comes from, and what is said of values that can't be meant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest

from imagemill.settings.catalogue import GROUPS, all_settings
from imagemill.settings.declaring import settings_of
from imagemill.settings.groups import MillSettings, RunSettings
from imagemill.settings.loading import Resolved, Sources, load, overview
from imagemill.settings.origins import Given, Layer, Origin
from imagemill.settings.problems import SettingsError
from imagemill.settings.profiles import PROFILES
from imagemill.settings.service_groups import Downloader, Storage

YAML = """\
# limits of the night
downloads: 20
profile: night
profiles:
  night:
    downloads: 30
    per_host: 3
    retries: 9
"""


def option(name: str, value: object) -> Given:
    return Given(name, value, Origin(Layer.COMMAND_LINE, f"--{name}"))


def sources(folder: Path, environ: Mapping[str, str] | None = None, *options: Given, **named: str) -> Sources:
    return Sources(options, environ=environ or {}, folder=folder, **named)


def loaded(
    folder: Path, environ: Mapping[str, str] | None = None, *options: Given, **named: str
) -> Resolved[RunSettings]:
    return load(RunSettings, sources(folder, environ, *options, **named))


def problems(folder: Path, environ: Mapping[str, str] | None = None, *options: Given, **named: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refused:
        loaded(folder, environ, *options, **named)
    return refused.value.problems


def test_each_layer_prevails_over_those_below_it(tmp_path: Path) -> None:
    (tmp_path / "imagemill.yaml").write_text(YAML)
    environ = {"IMAGEMILL_DOWNLOADS": "40", "IMAGEMILL_TIMEOUT_S": "7.5"}

    found = loaded(tmp_path, environ, option("timeout_s", "9"))

    assert (found.values.timeout_s, found.origins["timeout_s"]) == (9.0, Origin(Layer.COMMAND_LINE, "--timeout_s"))
    assert (found.values.downloads, found.origins["downloads"]) == (
        40,
        Origin(Layer.ENVIRONMENT, "IMAGEMILL_DOWNLOADS"),
    )
    assert loaded(tmp_path).origins["downloads"] == Origin(Layer.FILE, "imagemill.yaml, line 2")
    assert loaded(tmp_path).values.downloads == 20
    assert found.values.per_host == 3
    assert found.origins["per_host"] == Origin(Layer.PROFILE, "night (imagemill.yaml, line 7)")
    assert (found.values.durability, found.origins["durability"].layer) == ("process", Layer.DEFAULT)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("imagemill.yaml", "downloads: 7\nallow_nets: [10.0.0.0/8, 'fd00::/8']\nkeep_originals: true\n"),
        ("imagemill.yml", "downloads: '7'\nallow_nets: 10.0.0.0/8 fd00::/8\nkeep_originals: yes\n"),
        ("imagemill.toml", 'downloads = 7\nallow_nets = ["10.0.0.0/8", "fd00::/8"]\nkeep_originals = true\n'),
        ("imagemill.json", json.dumps({"downloads": 7, "allow_nets": "10.0.0.0/8,fd00::/8", "keep_originals": True})),
    ],
)
def test_a_file_is_read_in_each_language_and_wherever_it_lies(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    for found in (
        loaded(tmp_path),
        loaded(elsewhere, file=str(tmp_path / name)),
        loaded(elsewhere, {"IMAGEMILL_SETTINGS": str(tmp_path / name)}),
    ):
        assert found.values.downloads == 7
        assert found.values.allow_nets == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
        assert found.values.keep_originals is True


def test_a_profile_is_chosen_by_the_highest_layer_that_names_one(tmp_path: Path) -> None:
    (tmp_path / "imagemill.yaml").write_text("profile: seo\n")

    assert loaded(tmp_path).values.retries == PROFILES["seo"]["retries"]
    by_variable = loaded(tmp_path, {"IMAGEMILL_PROFILE": "fast-download"})
    assert by_variable.values.downloads == PROFILES["fast-download"]["downloads"]
    assert by_variable.origins["downloads"] == Origin(Layer.PROFILE, "fast-download")
    assert loaded(tmp_path, {"IMAGEMILL_PROFILE": "fast-download"}, profile="seo").values.downloads == 16


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_that_is_there_from_the_start_holds_settings_that_are_allowed(tmp_path: Path, profile: str) -> None:
    found = loaded(tmp_path, profile=profile)

    assert {name for name, origin in found.origins.items() if origin.layer is Layer.PROFILE} == set(PROFILES[profile])


def test_everything_that_is_wrong_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "imagemill.yaml").write_text(
        "per-host: 3\ndownloads: 0\nprofiles:\n  unused:\n    log_level: loud\n    retrys: 1\n"
    )
    environ = {
        "IMAGEMILL_RETRIES": "1.5",
        "IMAGEMILL_DOWNLODS": "3",
        "IMAGEMILL_DATABASE_URL": "mysql://u:geheim@h/db",
        "IMAGEMILL_TEST_ANYTHING": "1",
        "IMAGEMILL_CHILDREN": "",
    }

    assert set(problems(tmp_path, environ, option("timeout_s", "nan"))) == {
        "--timeout_s nan: give a number. Allowed are 1 to 3,600.",
        "IMAGEMILL_RETRIES=1.5: give a whole number. Allowed are 0 to 20.",
        "IMAGEMILL_DOWNLODS: there is no such setting; did you mean IMAGEMILL_DOWNLOADS?",
        "IMAGEMILL_DATABASE_URL=***: give a URL that begins with postgresql: or sqlite:, such as "
        "postgresql://mill:password@localhost/mill.",
        "imagemill.yaml, line 1: there is no setting 'per-host'; did you mean per_host?",
        "imagemill.yaml, line 2: downloads: 0: downloads at a time; give a number from 1 to 1,000.",
        "unused (imagemill.yaml, line 5): log_level: loud: give debug, info, warning or error.",
        "unused (imagemill.yaml, line 6): there is no setting 'retrys'; did you mean retries?",
    }


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("imagemill.yaml", "- downloads", "imagemill.yaml: give settings by name, such as downloads: 20."),
        ("imagemill.yaml", "downloads: 1\ndownloads: 2", "line 2: 'downloads' is given twice; keep one of them."),
        ("imagemill.yaml", "downloads: [", "this is not valid YAML"),
        ("imagemill.toml", "downloads = \nretries = 1", "line 1: this is not valid TOML"),
        ("imagemill.json", "{", "line 1: this is not valid JSON"),
        ("imagemill.json", b"\xff\xfe", "the file is not text in UTF-8."),
        ("imagemill.yaml", "profile: nite\nprofiles: {night: {}}", "line 1: profile: nite: there is no such profile"),
        ("imagemill.yaml", "profile: 3", "imagemill.yaml, line 1: profile: give the name of a profile."),
        ("imagemill.yaml", "profiles: 3", "profiles: give settings by name of a profile."),
        ("imagemill.yaml", "profiles: {night: 3}", "profiles.night: give settings by name, such as downloads: 20."),
        ("imagemill.yaml", "downloads:", "imagemill.yaml, line 1: downloads: None: give a whole number."),
        ("imagemill.yaml", "downloads: true", "downloads: True: give a whole number."),
        ("imagemill.yaml", "allow_nets: 10", "give networks such as 10.0.0.0/8"),
        ("imagemill.yaml", "allow_nets: [10]", "10: this is no network"),
        ("imagemill.yaml", "allow_nets: [10.0.0.1/8]", "10.0.0.0/8 is likely meant."),
        ("imagemill.yaml", "keep_originals: maybe", "give true or false."),
        ("imagemill.yaml", "recipe: ''", "give a preset"),
        ("imagemill.yaml", "listen: nowhere", "listen: nowhere: this is no address; give host:port"),
        ("imagemill.yaml", "storage_target: h:70000", "such as 127.0.0.1:50051."),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_place(
    tmp_path: Path, name: str, text: str | bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    (told,) = problems(tmp_path)

    assert problem in told
    assert told.startswith(name) or f"/{name}" in told


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "profiles:\n"])
def test_a_file_may_be_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "imagemill.yaml").write_text(text)

    assert loaded(tmp_path).values == RunSettings()


def test_two_files_side_by_side_are_refused(tmp_path: Path) -> None:
    (tmp_path / "imagemill.yaml").touch()
    (tmp_path / "imagemill.toml").touch()

    (told,) = problems(tmp_path)

    assert told.startswith("imagemill.yaml and imagemill.toml lie side by side")
    assert loaded(tmp_path, file=str(tmp_path / "imagemill.toml")).values == RunSettings()


def test_a_named_file_that_is_missing_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, file="nowhere.yaml") == ("nowhere.yaml: there is no such file.",)
    assert problems(tmp_path, file="settings.ini") == (
        "settings.ini: a settings file must end in .yaml, .yml, .toml or .json.",
    )


def test_what_a_service_needs_and_nobody_gives_is_named_all_together(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        load(Storage, sources(tmp_path, {"IMAGEMILL_BLOB_URL": "file:///var/lib/mill"}))

    assert [told.split(" is needed")[0] for told in refused.value.problems] == [
        "IMAGEMILL_BROKER_URL",
        "IMAGEMILL_DATABASE_URL",
    ]


def test_one_environment_serves_all_services(tmp_path: Path) -> None:
    environ = {
        "IMAGEMILL_BROKER_URL": "amqp://mill:geheim@broker/",
        "IMAGEMILL_DATABASE_URL": "postgresql://mill:geheim@db/mill?sslmode=require&sslpassword=geheim",
        "IMAGEMILL_BLOB_URL": "file:///var/lib/imagemill",
        "IMAGEMILL_STORAGE_TARGET": "storage:50052",
    }
    for group in GROUPS.values():
        load(group, sources(tmp_path, environ))

    rows = {row.setting.name: row.shown for row in overview(Storage, sources(tmp_path, environ))}
    assert rows["broker_url"] == "amqp://mill:***@broker/"
    assert rows["database_url"] == "postgresql://mill:***@db/mill?sslmode=require&sslpassword=***"
    storage = load(Storage, sources(tmp_path, environ)).values
    assert storage.database_url.endswith("sslpassword=geheim")
    assert "geheim" not in repr(storage)


def test_what_is_missing_is_shown_as_needed(tmp_path: Path) -> None:
    rows = {row.setting.name: row for row in overview(Downloader, sources(tmp_path))}

    assert rows["broker_url"].origin is None
    assert rows["downloads"].shown == "50"


@pytest.mark.parametrize("name", all_settings())
def test_a_value_that_is_written_is_read_as_what_it_was(name: str) -> None:
    setting = all_settings()[name]

    assert setting.help.endswith(".")
    assert setting.kind.allowed
    if not setting.required:
        assert setting.kind.read(setting.kind.write(setting.default)) == setting.default
    if setting.example:
        setting.kind.read(setting.example)


def test_a_setting_of_one_name_is_of_one_kind_wherever_it_is() -> None:
    for group in GROUPS.values():
        for name, setting in settings_of(group).items():
            same = all_settings()[name]
            assert (setting.kind, setting.options) == (same.kind, same.options)


def test_a_run_knows_what_a_mill_knows() -> None:
    assert set(settings_of(MillSettings)) < set(settings_of(RunSettings))
