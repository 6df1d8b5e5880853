"""A recipe as a mapping, the way people write it, turned into the API's message."""

from __future__ import annotations

from collections.abc import Mapping

from imagemill.v1 import recipe_pb2


class RecipeFieldError(ValueError):
    """A recipe's mapping can't be put into the API's message; the text names the field."""


def recipe_message(recipe: Mapping[str, object] | recipe_pb2.Recipe) -> recipe_pb2.Recipe:
    """Give the message for `recipe`. Only the form is checked here: the server judges what it means.

    Raises:
        RecipeFieldError: a field is unknown or of the wrong type.
    """
    if isinstance(recipe, recipe_pb2.Recipe):
        return recipe
    message = recipe_pb2.Recipe()
    _refuse_unknown(recipe, set(recipe_pb2.Recipe.DESCRIPTOR.fields_by_name), "recipe")
    if "metadata" in recipe:
        message.metadata = recipe_pb2.Recipe.Metadata.Value(
            _known(recipe["metadata"], "METADATA", recipe_pb2.Recipe.Metadata.keys(), "metadata")
        )
    if "color_profile" in recipe:
        message.color_profile = recipe_pb2.Recipe.ColorProfile.Value(
            _known(recipe["color_profile"], "COLOR_PROFILE", recipe_pb2.Recipe.ColorProfile.keys(), "color_profile")
        )
    variants = recipe.get("variants", ())
    if not isinstance(variants, list | tuple):
        raise RecipeFieldError("variants: a list is needed")
    message.variants.extend(_variant(variant, f"variants[{place}]") for place, variant in enumerate(variants))
    return message


def _variant(variant: object, path: str) -> recipe_pb2.Variant:
    if not isinstance(variant, Mapping):
        raise RecipeFieldError(f"{path}: a mapping is needed")
    _refuse_unknown(variant, set(recipe_pb2.Variant.DESCRIPTOR.fields_by_name), path)
    fields: dict[str, object] = {name: value for name, value in variant.items() if value is not None}
    if "mode" in fields:
        fields["mode"] = _known(fields["mode"], "MODE", recipe_pb2.Variant.Mode.keys(), f"{path}.mode")
    if "format" in fields:
        fields["format"] = _known(fields["format"], "FORMAT", recipe_pb2.Variant.Format.keys(), f"{path}.format")
    message = recipe_pb2.Variant()
    for name, value in fields.items():
        try:
            message.MergeFrom(recipe_pb2.Variant(**{name: value}))  # type: ignore[arg-type]  # what does not fit raises
        except (TypeError, ValueError) as error:
            raise RecipeFieldError(f"{path}.{name}: {value!r} does not fit") from error
    return message


def _refuse_unknown(mapping: Mapping[str, object], known: set[str], path: str) -> None:
    unknown = [name for name in mapping if name not in known]
    if unknown:
        raise RecipeFieldError(f"{path}: unknown field {unknown[0]!r}; known are {', '.join(sorted(known))}")


def _known(value: object, prefix: str, names: list[str], path: str) -> str:
    name = f"{prefix}_{str(value).upper()}"
    if name not in names:
        words = ", ".join(known.removeprefix(f"{prefix}_").lower() for known in names[1:])
        raise RecipeFieldError(f"{path}: {value!r} is not one of {words}")
    return name
