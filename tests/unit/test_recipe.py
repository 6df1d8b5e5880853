from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.cli.recipe_files import RecipeFileError, load_recipe
from imagemill.domain.presets import DEFAULT_PRESET, PRESETS
from imagemill.domain.recipe import Format, Metadata, Mode, Recipe, RecipeError, extension

THUMB: dict[str, object] = {"name": "thumb", "mode": "inside", "width": 150, "height": 150, "format": "jpeg"}


def with_variant(**changes: object) -> dict[str, object]:
    kept = {name: value for name, value in {**THUMB, **changes}.items() if value is not ...}
    return {"variants": [kept]}


def problems_of(mapping: object) -> dict[str, str]:
    with pytest.raises(RecipeError) as raised:
        Recipe.parse(mapping)
    return {problem.field: problem.problem for problem in raised.value.problems}


def test_a_recipe_as_people_write_it_is_read() -> None:
    recipe = Recipe.parse(
        {
            "variants": [
                {**THUMB, "quality": 70, "background": "White", "progressive": True},
                {"name": "half", "mode": "scale", "scale": 0.5, "format": "source"},
            ],
            "metadata": "keep",
        }
    )

    thumb, half = recipe.variants
    assert (thumb.mode, thumb.format, thumb.background) == (Mode.INSIDE, Format.JPEG, "#ffffff")
    assert thumb.encoder_options(Format.JPEG) == {"quality": 70, "progressive": True, "optimize": False}
    assert (half.scale, half.upscale, recipe.metadata) == (0.5, False, Metadata.KEEP)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"width": 0}, "variants[0].width", "whole number from 1 to 16383"),
        ({"width": 16384}, "variants[0].width", "whole number"),
        ({"width": 10.5}, "variants[0].width", "whole number"),
        ({"width": True}, "variants[0].width", "whole number"),
        ({"width": "150"}, "variants[0].width", "whole number"),
        ({"widht": 10}, "variants[0].widht", "did you mean 'width'"),
        ({"name": "Thumb"}, "variants[0].name", "a-z, 0-9"),
        ({"name": "a/b"}, "variants[0].name", "a-z, 0-9"),
        ({"name": "x" * 33}, "variants[0].name", "1 to 32"),
        ({"name": ...}, "variants[0].name", "needs a name"),
        ({"mode": "insid"}, "variants[0].mode", "did you mean 'inside'"),
        ({"format": "gif"}, "variants[0].format", "known: jpeg"),
        ({"quality": 101}, "variants[0].quality", "from 1 to 100"),
        ({"background": "#12"}, "variants[0].background", "no colour"),
        ({"background": None}, "variants[0].background", "quotes"),
        ({"upscale": "yes"}, "variants[0].upscale", "neither true nor false"),
        ({"method": 4}, "variants[0].method", "belongs to webp"),
        ({"format": "png", "quality": 80}, "variants[0].quality", "belongs to jpeg, webp, avif"),
        ({"format": "source", "lossless": True}, "variants[0].lossless", "belongs to webp"),
        ({"format": "webp", "method": 7}, "variants[0].method", "from 0 to 6"),
        ({"width": ..., "height": ...}, "variants[0].width", "a width, a height or both"),
        ({"mode": "cover", "height": ...}, "variants[0].height", "both width and height"),
        ({"mode": "pad", "width": ...}, "variants[0].width", "both width and height"),
        ({"mode": "stretch", "width": ...}, "variants[0].width", "both width and height"),
        ({"scale": 0.5}, "variants[0].scale", "use mode 'scale'"),
        ({"mode": "scale", "scale": 0.5}, "variants[0].width", "takes its size from 'scale'"),
        ({"mode": "scale", "width": ..., "height": ...}, "variants[0].scale", "needs it"),
        ({"mode": "scale", "width": ..., "height": ..., "scale": 0}, "variants[0].scale", "above 0"),
        ({"mode": "scale", "width": ..., "height": ..., "scale": float("nan")}, "variants[0].scale", "above 0"),
        ({"mode": "scale", "width": ..., "height": ..., "scale": 2}, "variants[0].scale", "upscale: true"),
    ],
)
def test_what_is_wrong_is_named_with_its_field(changes: dict[str, object], field: str, words: str) -> None:
    assert words in problems_of(with_variant(**changes))[field]


def test_all_problems_are_told_at_once() -> None:
    found = problems_of(
        {"variants": [{**THUMB, "width": -1, "quality": 0}, THUMB, THUMB], "metadata": "all", "variant": []}
    )

    assert set(found) == {"variant", "metadata", "variants[0].width", "variants[0].quality", "variants[1].name"} | {
        "variants[2].name"
    }


@pytest.mark.parametrize("mapping", [None, [], "standard", {}, {"variants": []}, {"variants": [3]}, {"variants": "a"}])
def test_what_has_no_shape_of_a_recipe_is_refused(mapping: object) -> None:
    assert problems_of(mapping)


def test_the_canonical_mapping_gives_the_same_recipe_again() -> None:
    for recipe in PRESETS.values():
        assert Recipe.parse(json.loads(recipe.to_json())).fingerprint() == recipe.fingerprint()


SIZES = st.integers(1, 16383)


@given(st.fixed_dictionaries({"width": SIZES, "height": SIZES, "upscale": st.booleans()}), st.sampled_from(Format))
def test_any_valid_recipe_survives_its_canonical_form(size: dict[str, Any], format_: Format) -> None:
    recipe = Recipe.parse({"variants": [{"name": "a", "mode": "cover", "format": format_.value, **size}]})

    again = Recipe.parse(json.loads(recipe.to_json()))

    assert again.to_mapping() == recipe.to_mapping()
    assert again.fingerprint() == recipe.fingerprint()


def test_spelling_does_not_change_the_fingerprint_but_meaning_does() -> None:
    plain = Recipe.parse(with_variant()).fingerprint()

    assert Recipe.parse(with_variant(quality=85, mode=..., upscale=False)).fingerprint() == plain
    assert Recipe.parse(with_variant(quality=84)).fingerprint() != plain
    assert Recipe.parse({**with_variant(), "metadata": "keep"}).fingerprint() != plain
    assert len(plain) == 16
    assert int(plain, 16) >= 0


@pytest.mark.parametrize(
    ("format_", "source", "expected"),
    [
        ("jpeg", "png", "jpg"),
        ("webp", "jpeg", "webp"),
        ("source", "jpeg", "jpg"),
        ("source", "avif", "avif"),
        ("source", "gif", "png"),
        ("source", "tiff", "png"),
        ("source", "source", "png"),
    ],
)
def test_the_extension_follows_the_format_written(format_: str, source: str, expected: str) -> None:
    variant = Recipe.parse(with_variant(format=format_)).variants[0]

    assert extension(variant, source) == expected


def test_the_default_preset_makes_three_sizes_in_two_formats() -> None:
    variants = PRESETS[DEFAULT_PRESET].variants

    assert [(each.width, each.format.value) for each in variants] == [
        (size, format_) for size in (150, 600, 1200) for format_ in ("jpeg", "webp")
    ]
    assert load_recipe("standard") is PRESETS["standard"]


FILES = {
    "r.yaml": "variants:\n  - {name: thumb, width: 150, background: '#fff'}\n",
    "r.json": '{"variants": [{"name": "thumb", "width": 150, "background": "#ffffff"}]}',
    "r.toml": '[[variants]]\nname = "thumb"\nwidth = 150\nbackground = "white"\n',
}


@pytest.mark.parametrize("name", FILES)
def test_a_recipe_file_is_read_in_each_language(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FILES[name])

    recipe = load_recipe(str(tmp_path / name))

    assert recipe.to_mapping()["variants"] == [
        {
            **{"name": "thumb", "mode": "inside", "format": "jpeg", "width": 150, "background": "#ffffff"},
            **{"upscale": False, "quality": 85, "progressive": False, "optimize": False},
        }
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("r.yaml", "variants:\n  - {name: thumb\n  width: [\n", "line 3: this is not valid YAML"),
        ("r.json", '{"variants": [\n,]}', "line 2: this is not valid JSON"),
        ("r.toml", "a = 1\nb = = 2\n", "line 2: this is not valid TOML"),
        ("r.yaml", "variants:\n  - name: a\n    width: 5\n    'width': 6\n", "line 4: 'width' is given twice"),
        ("r.yaml", "metadata: keep\nvariants: []\nmetadata: strip\n", "line 3: 'metadata' is given twice"),
        ("r.json", '{"variants": [{"name": "a", "width": 5,\n "width": 6}]}', "'width' is given twice"),
        ("r.toml", "[[variants]]\nwidth = 5\nwidth = 6\n", "line 3: this is not valid TOML"),
        ("r.yaml", "variants: &all [*all]\n", "variants[0]"),
        ("r.yaml", "variants: [{name: a, width: 0}]", "variants[0].width: 0 is not a whole number"),
        ("r.yaml", "", "a recipe is a mapping"),
        ("r.txt", "variants: []", "must end in .yaml"),
    ],
)
def test_a_recipe_file_that_is_wrong_is_named_with_the_place(name: str, text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(RecipeFileError) as raised:
        load_recipe(str(tmp_path / name))

    assert words in str(raised.value)
    assert str(tmp_path / name) in str(raised.value)


def test_a_name_that_is_neither_preset_nor_file_is_answered_with_the_presets(tmp_path: Path) -> None:
    with pytest.raises(RecipeFileError, match=r"standard, half, dataset-256.*Did you mean 'standard'"):
        load_recipe("standart")
    with pytest.raises(RecipeFileError, match="there is no such file"):
        load_recipe(str(tmp_path / "absent.yaml"))
