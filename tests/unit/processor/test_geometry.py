from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.domain.recipe import Recipe, Variant
from processor_svc.geometry import Size, plan


def variant(**fields: object) -> Variant:
    return Recipe.parse({"variants": [{"name": "a", **fields}]}).variants[0]


@pytest.mark.parametrize(
    ("fields", "source", "size"),
    [
        ({"width": 256, "height": 256}, (1280, 960), (256, 192)),
        ({"width": 256, "height": 256}, (960, 1280), (192, 256)),
        ({"width": 150, "height": 150}, (1200, 900), (150, 113)),
        ({"width": 100}, (300, 200), (100, 67)),
        ({"height": 100}, (300, 200), (150, 100)),
        ({"width": 100, "height": 100}, (5000, 3), (100, 1)),
        ({"width": 400, "height": 400}, (300, 200), (300, 200)),
        ({"width": 300, "height": 400}, (300, 200), (300, 200)),
        ({"width": 600, "height": 600, "upscale": True}, (300, 200), (600, 400)),
        ({"scale": 0.5}, (301, 201), (151, 101)),
        ({"scale": 0.001}, (300, 200), (1, 1)),
        ({"scale": 2, "upscale": True}, (300, 200), (600, 400)),
        ({"mode": "stretch", "width": 100, "height": 100}, (300, 200), (100, 100)),
        ({"mode": "stretch", "width": 100, "height": 400}, (300, 200), (100, 200)),
        ({"mode": "cover", "width": 100, "height": 100}, (300, 200), (100, 100)),
        ({"mode": "cover", "width": 400, "height": 200}, (300, 200), (300, 150)),
        ({"mode": "cover", "width": 400, "height": 200, "upscale": True}, (300, 200), (400, 200)),
    ],
)
def test_the_size_is_what_a_person_would_expect(fields: dict[str, object], source: Size, size: Size) -> None:
    assert plan(variant(**fields), source).size == size


def test_cover_takes_the_middle() -> None:
    assert plan(variant(mode="cover", width=100, height=100), (300, 200)).crop == (50.0, 0.0, 250.0, 200.0)
    assert plan(variant(mode="cover", width=100, height=100), (200, 300)).crop == (0.0, 50.0, 200.0, 250.0)


def test_pad_gives_the_canvas_its_full_size_and_the_picture_its_own() -> None:
    planned = plan(variant(mode="pad", width=400, height=400), (300, 200))

    assert (planned.size, planned.canvas) == ((300, 200), (400, 400))


SIDES = st.integers(1, 20_000)
SHAPES = st.sampled_from(["inside", "cover", "pad", "stretch"])


@given(SHAPES, st.integers(1, 16383), st.integers(1, 16383), st.tuples(SIDES, SIDES))
def test_nothing_is_enlarged_unasked_and_nothing_leaves_the_picture(
    mode: str, width: int, height: int, source: Size
) -> None:
    planned = plan(variant(mode=mode, width=width, height=height), source)

    left, top, right, bottom = planned.crop
    assert 0 <= left < right <= source[0]
    assert 0 <= top < bottom <= source[1]
    assert 1 <= planned.size[0] <= min(width, source[0])
    assert 1 <= planned.size[1] <= min(height, source[1])


@given(st.integers(1, 2000), st.integers(1, 2000), st.tuples(SIDES, SIDES))
def test_inside_keeps_the_aspect_to_half_a_pixel(width: int, height: int, source: Size) -> None:
    made = plan(variant(width=width, height=height), source).size

    ratio = min(1.0, width / source[0], height / source[1])
    assert abs(made[0] - max(1.0, source[0] * ratio)) <= 0.5 + 1e-6
    assert abs(made[1] - max(1.0, source[1] * ratio)) <= 0.5 + 1e-6
