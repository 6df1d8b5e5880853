"""A recipe's mapping and the API's message say the same."""

from __future__ import annotations

import pytest

from imagemill.client.recipes import RecipeFieldError, recipe_message
from imagemill.v1.recipe_pb2 import Recipe, Variant


def test_a_mapping_becomes_the_message_field_by_field() -> None:
    message = recipe_message(
        {
            "variants": [
                {"name": "half", "mode": "scale", "scale": 0.5, "format": "source"},
                {"name": "web", "mode": "cover", "width": 10, "height": 20, "format": "webp", "lossless": True},
            ],
            "metadata": "keep",
            "color_profile": "keep",
        }
    )

    assert message == Recipe(
        variants=[
            Variant(name="half", mode=Variant.MODE_SCALE, scale=0.5, format=Variant.FORMAT_SOURCE),
            Variant(
                name="web", mode=Variant.MODE_COVER, width=10, height=20, format=Variant.FORMAT_WEBP, lossless=True
            ),
        ],
        metadata=Recipe.METADATA_KEEP,
        color_profile=Recipe.COLOR_PROFILE_KEEP,
    )


def test_an_option_that_is_off_differs_from_one_that_is_not_given() -> None:
    (off,) = recipe_message({"variants": [{"progressive": False}]}).variants
    (absent,) = recipe_message({"variants": [{"progressive": None}]}).variants

    assert off.HasField("progressive")
    assert not absent.HasField("progressive")


def test_a_message_stays_as_it_is() -> None:
    message = Recipe(variants=[Variant(name="a")])

    assert recipe_message(message) is message


@pytest.mark.parametrize(
    ("mapping", "complaint"),
    [
        ({"variant": []}, r"recipe: unknown field 'variant'; known are color_profile, metadata, variants"),
        ({"variants": [{"widht": 5}]}, r"variants\[0\]: unknown field 'widht'"),
        ({"variants": [{"width": "wide"}]}, r"variants\[0\]\.width: 'wide' does not fit"),
        ({"variants": [{"width": 1 << 40}]}, r"variants\[0\]\.width: \d+ does not fit"),
        ({"variants": [{"mode": "crop"}]}, r"variants\[0\]\.mode: 'crop' is not one of inside, cover"),
        ({"variants": {"name": "a"}}, "variants: a list is needed"),
        ({"variants": ["a"]}, r"variants\[0\]: a mapping is needed"),
        ({"metadata": "all"}, "metadata: 'all' is not one of strip, keep"),
        ({"color_profile": "drop"}, "color_profile: 'drop' is not one of convert, keep"),
    ],
)
def test_what_does_not_fit_is_named(mapping: dict[str, object], complaint: str) -> None:
    with pytest.raises(RecipeFieldError, match=complaint):
        recipe_message(mapping)
