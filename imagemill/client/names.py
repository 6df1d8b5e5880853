"""The API's names and numbers by the words that people use for them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from imagemill.v1.batch_pb2 import Batch, Item
from imagemill.v1.batch_service_pb2 import WatchView

if TYPE_CHECKING:  # the stubs alone know it as a generic type, and by this name
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper as EnumTypeWrapper

BatchLike: TypeAlias = Batch | str
"""A batch, its name `batches/{batch}`, or its bare id."""

ItemState: TypeAlias = "Item.State.ValueType | str"
"""A state of an item: `Item.STATE_FAILED`, or `failed`."""

View: TypeAlias = "WatchView.ValueType | Literal['progress', 'failures', 'results', 'items']"
"""How much a watch tells, as the API's number or as a word."""


def batch_name(batch: BatchLike) -> str:
    """Return the resource name of a batch."""
    name = batch.name if isinstance(batch, Batch) else batch
    return name if "/" in name else f"batches/{name}"


def state_word(resource: Batch | Item) -> str:
    """Return the state of a batch or of an item as a word: `succeeded`; `unknown_10` of one that a newer mill has."""
    return enum_word(Batch.State if isinstance(resource, Batch) else Item.State, resource.state, "STATE")


@lru_cache(maxsize=64)
def enum_word(enumeration: EnumTypeWrapper[Any], number: int, prefix: str) -> str:
    """Return the word for a number of an enumeration whose names begin with a prefix."""
    name = enumeration.Name(number) if number in enumeration.values() else f"unknown_{number}"
    return name.removeprefix(f"{prefix}_").lower()


def item_states(states: Iterable[ItemState]) -> list[Item.State.ValueType]:
    """Return the API's numbers of states.

    Raises:
        ValueError: a word is no state; the text names those that are.
    """
    return [
        Item.State.Value(_known(f"state {each!r}", "STATE", each, Item.State.keys())) if isinstance(each, str) else each
        for each in states
    ]


def view_number(view: View) -> WatchView.ValueType:
    """Return the API's number of a view. Raises `ValueError` for a word that is none."""
    if not isinstance(view, str):
        return view
    return WatchView.Value(_known(f"view {view!r}", "WATCH_VIEW", view, WatchView.keys()))


def _known(what: str, prefix: str, word: str, names: list[str]) -> str:
    name = f"{prefix}_{word.upper()}"
    if name not in names[1:]:
        words = ", ".join(known.removeprefix(f"{prefix}_").lower() for known in names[1:])
        raise ValueError(f"There is no {what}; known are {words}.")
    return name
