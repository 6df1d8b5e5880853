"""Recipes that no person writes."""

from __future__ import annotations

import pytest

from imagemill.domain.recipe import Recipe, RecipeError

ENDLESS: list[object] = ["x"] * 10
for _ in range(8):
    ENDLESS = [ENDLESS] * 10


@pytest.mark.parametrize(
    "value",
    [ENDLESS, {"a": ENDLESS}, "x" * 10**6, 10**400, 1 << 20_000],
    ids=["list", "mapping", "text", "number", "large number"],
)
@pytest.mark.parametrize(
    "field", ["name", "mode", "format", "width", "scale", "background", "upscale", "quality", "progressive"]
)
def test_a_value_without_end_is_refused_in_a_short_sentence(field: str, value: object) -> None:
    with pytest.raises(RecipeError) as refused:
        Recipe.parse({"variants": [{"name": "a", "width": 10, field: value}], "metadata": value})

    assert all(len(str(problem)) < 400 for problem in refused.value.problems)


@pytest.mark.parametrize(
    "name",
    ["\x1b[31m", "\ud800", "x" * 10**6, 1 << 20_000, ("a", "b")],
    ids=["escape", "half", "long", "number", "tuple"],
)
def test_an_unknown_field_is_named_in_print(name: object) -> None:
    with pytest.raises(RecipeError) as refused:
        Recipe.parse({"variants": [{"name": "a", "width": 10}], name: 1})

    (problem,) = refused.value.problems
    assert str(problem).isprintable()
    assert len(str(problem)) < 300
