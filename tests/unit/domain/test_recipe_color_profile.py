from __future__ import annotations

import pytest

from imagemill import codec
from imagemill.client.recipes import RecipeFieldError, recipe_message
from imagemill.domain.recipe import ColorProfile, Recipe, RecipeError

VARIANTS = [{"name": "a", "width": 10}]


@pytest.mark.parametrize("word", ["convert", "keep"])
def test_what_becomes_of_profiles_travels_with_the_recipe(word: str) -> None:
    recipe = Recipe.parse({"variants": VARIANTS, "color_profile": word})

    assert recipe.color_profile is ColorProfile(word)
    assert Recipe.parse(recipe.to_mapping()).fingerprint() == recipe.fingerprint()
    message = recipe_message(recipe.to_mapping())
    assert message == codec.recipe_message(recipe.to_mapping())
    assert Recipe.parse(codec.recipe_mapping(message)).to_mapping() == recipe.to_mapping()


def test_colours_are_converted_unless_something_else_is_asked_for() -> None:
    plain = Recipe.parse({"variants": VARIANTS})

    assert plain.color_profile is ColorProfile.CONVERT
    assert plain.fingerprint() == Recipe.parse({"variants": VARIANTS, "color_profile": "convert"}).fingerprint()
    assert plain.fingerprint() != Recipe.parse({"variants": VARIANTS, "color_profile": "keep"}).fingerprint()


def test_another_word_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RecipeError) as raised:
        Recipe.parse({"variants": VARIANTS, "color_profile": "kepe"})
    with pytest.raises(RecipeFieldError, match="color_profile: 'srgb' is not one of convert, keep"):
        recipe_message({"variants": VARIANTS, "color_profile": "srgb"})

    assert [problem.field for problem in raised.value.problems] == ["color_profile"]
    assert "did you mean 'keep'" in raised.value.problems[0].problem
