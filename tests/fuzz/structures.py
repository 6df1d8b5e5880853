"""Values as files in YAML, JSON and TOML hold them, and what those files look like."""

from __future__ import annotations

import json

from hypothesis import strategies as st

Structure = object


def written(fields: st.SearchStrategy[str]) -> st.SearchStrategy[Structure]:
    """Structures in which the given names turn up as keys, more often than chance would have them."""
    words = st.sampled_from(
        ["inside", "scale", "jpeg", "webp", "keep", "#ffffff", "a", "none", "auto", "info", "\x1b[1m"]
    )
    numbers = st.one_of(st.integers(-(10**20), 10**20), st.just(10**400), st.floats())
    leaves = st.one_of(st.none(), st.booleans(), numbers, words, st.text(max_size=20))
    keys = st.one_of(fields, fields, st.text(max_size=5))
    inner = st.recursive(
        leaves,
        lambda children: st.one_of(st.lists(children, max_size=4), st.dictionaries(keys, children, max_size=4)),
        max_leaves=12,
    )
    variant = st.dictionaries(keys, inner, max_size=6)
    recipe = st.fixed_dictionaries({"variants": st.lists(variant, max_size=3)})
    settings = st.dictionaries(keys, st.one_of(leaves, inner), max_size=5)
    return st.one_of(recipe, settings, inner)


def written_in(ending: str, content: Structure, depth: int, around: str) -> str:
    """Write a structure as the text of a file of that kind, within so many lists or mappings."""
    if ending == ".toml":
        return "\n".join(f"{_toml_key(key)} = {_nested_toml(value, depth)}" for key, value in _fields(content))
    # JSON is YAML, but for what only one of them can spell.
    text = json.dumps(content)
    if around == "list":
        return "[" * depth + text + "]" * depth
    return '{"variants": ' * depth + text + "}" * depth


def _fields(content: Structure) -> list[tuple[str, Structure]]:
    return list(content.items()) if isinstance(content, dict) else [("a", content)]


def _toml_key(key: str) -> str:
    return json.dumps(key)


def _nested_toml(value: Structure, depth: int) -> str:
    return "[" * depth + _toml(value) + "]" * depth


def _toml(value: Structure) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_key(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return '""' if value is None else json.dumps(value)
