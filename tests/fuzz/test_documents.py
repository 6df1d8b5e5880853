"""Recipe files and settings files: whatever is in them, they are read or refused, in print and in short."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.cli.recipe_files import RecipeFileError, load_recipe
from imagemill.domain.recipe import Recipe
from imagemill.settings.groups import RunSettings
from imagemill.settings.loading import Sources, load
from imagemill.settings.problems import SettingsError
from tests.fuzz.effort import TALLY, cases
from tests.fuzz.mutations import Mutation, damage, damaged
from tests.fuzz.structures import written, written_in

RECIPES = {
    ".yaml": b"metadata: keep\nvariants:\n  - {name: thumb, width: 150, height: 100, mode: pad, background: '#fff'}\n"
    b"  - &half\n    name: half\n    scale: 0.5\n    format: webp\n    lossless: true\n",
    ".json": b'{"variants": [{"name": "a", "width": 5, "upscale": true}, {"name": "b", "scale": 2e0}]}',
    ".toml": b'metadata = "strip"\n[[variants]]\nname = "a"\nwidth = 0x10\nquality = 80\n[[variants]]\n'
    b'name = "b"\nheight = 7\n',
}
SETTINGS = {
    ".yaml": b"downloads: 20\nprofile: night\nprofiles:\n  night: {downloads: 30, per_host: 3}\n"
    b"allow_net: [10.0.0.0/8]\n",
    ".json": b'{"downloads": 20, "timeout": 3.5, "allow_net": "10.0.0.0/8", "profiles": {"a": {"retries": 2}}}',
    ".toml": b'downloads = 20\nlog_level = "debug"\n[profiles.night]\nretries = 3\n',
}
_WORDS = "variants name width scale mode format background metadata color_profile"
_SETTINGS = "downloads profile profiles allow_net timeout log_level retries"
FIELDS = st.sampled_from(f"{_WORDS} {_SETTINGS}".split())
LONGEST = 400


def judge_recipe(path: Path) -> None:
    try:
        recipe = load_recipe(str(path))
    except RecipeFileError as error:
        judge_refusal("recipe files", error, path)
        return
    TALLY["recipe files: read"] += 1
    assert Recipe.parse(recipe.to_mapping()).fingerprint() == recipe.fingerprint()


def judge_settings(path: Path) -> None:
    try:
        load(RunSettings, Sources(file=str(path), environ={}, folder=None))
    except SettingsError as error:
        judge_refusal("settings files", error, path)
        return
    TALLY["settings files: read"] += 1


def judge_refusal(what: str, error: Exception, path: Path) -> None:
    TALLY[f"{what}: refused"] += 1
    text = str(error)
    assert str(path) in text
    assert all(line.isprintable() and len(line) < LONGEST for line in text.replace(str(path), "").split("\n")), text


Judge = Callable[[Path], None]
EACH = pytest.mark.parametrize(
    ("judge", "valid"), [(judge_recipe, RECIPES), (judge_settings, SETTINGS)], ids=["recipe", "settings"]
)


@EACH
@pytest.mark.parametrize("ending", [".yaml", ".json", ".toml"])
def test_a_damaged_file_is_read_or_refused(judge: Judge, valid: dict[str, bytes], ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"file{ending}"

    @cases(75)
    @given(st.lists(damage(), min_size=1, max_size=3).map(tuple))
    def judged(mutations: tuple[Mutation, ...]) -> None:
        path.write_bytes(damaged(valid[ending], mutations))
        judge(path)

    path.write_bytes(valid[ending])
    judge(path)
    judged()


@EACH
@pytest.mark.parametrize("ending", [".yaml", ".json", ".toml"])
def test_a_file_of_any_structure_is_read_or_refused(
    judge: Judge, valid: dict[str, bytes], ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"file{ending}"

    @cases(75)
    @given(written(FIELDS), st.sampled_from([0, 0, 0, 3, 400]), st.sampled_from(["list", "mapping"]))
    def judged(content: object, depth: int, around: str) -> None:
        path.write_text(written_in(ending, content, depth, around), encoding="utf-8")
        judge(path)

    judged()
