"""Settings that change while they are in use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Generic, TypeVar

from imagemill.settings.declaring import settings_of
from imagemill.settings.loading import Resolved
from imagemill.settings.origins import CHANGED
from imagemill.settings.problems import nearest

T = TypeVar("T")


class ChangeRefused(Exception):
    """Something can't be changed to what is wished, here and now; the text says why, for its reader."""


class NotChangeable(ChangeRefused):
    """Settings that stay as they are while the mill runs; `problems` says why, by name."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("Some of these settings can't be changed while the mill runs.")
        self.problems = dict(problems)


class WrongValues(ValueError):
    """Names or values that can't be meant; `problems` says what is wrong, by name."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("Some of these settings are unknown or have values that are not allowed.")
        self.problems = dict(problems)


class Live(Generic[T]):
    """A value that may change, and those who follow it; for one event loop."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._followers: list[Callable[[T], None]] = []

    @property
    def value(self) -> T:
        """The value as of now."""
        return self._value

    @contextmanager
    def followed_by(self, follow: Callable[[T], None]) -> Iterator[None]:
        """Call `follow` with each new value for the length of the block.

        It raises `ChangeRefused`, before it has done anything, for a value that it can't follow.
        """
        self._followers.append(follow)
        try:
            yield
        finally:
            self._followers.remove(follow)

    def change(self, value: T) -> None:
        """Set a new value and tell whoever follows. Raises `ChangeRefused`; then everything is as before."""
        told: list[Callable[[T], None]] = []
        try:
            for follow in self._followers:
                follow(value)
                told.append(follow)
        except ChangeRefused:
            for follow in told:
                follow(self._value)
            raise
        self._value = value


class LiveSettings(Generic[T]):
    """A process's settings: where each comes from, and those that may be changed while it runs."""

    def __init__(self, resolved: Resolved[T]) -> None:
        self._resolved = resolved
        self.values = Live(resolved.values)
        """The values, for those who follow them."""

    @property
    def resolved(self) -> Resolved[T]:
        """The values as of now, with their origins."""
        return self._resolved

    def update(self, wished: Mapping[str, str]) -> None:
        """Change some settings, all or none of them.

        Raises:
            WrongValues: a name is unknown or a value is not allowed.
            NotChangeable: a setting stays as it is while the process runs.
            ChangeRefused: the values are not possible here and now.
        """
        new = self._read(wished)
        self.values.change(replace(self._resolved.values, **new))  # type: ignore[type-var]  # groups are dataclasses
        origins = {**self._resolved.origins, **dict.fromkeys(new, CHANGED)}
        self._resolved = Resolved(self.values.value, origins)

    def _read(self, wished: Mapping[str, str]) -> dict[str, Any]:
        declared = settings_of(type(self._resolved.values))
        new, wrong, fixed = dict[str, Any](), dict[str, str](), dict[str, str]()
        for name, text in wished.items():
            setting = declared.get(name)
            if setting is None:
                wrong[name] = f"there is no such setting; {nearest(name, declared)}"
            elif not setting.changeable:
                fixed[name] = f"{setting.fixed_because}; set it at the next start"
            else:
                try:
                    new[name] = setting.kind.read(text)
                except ValueError as error:
                    wrong[name] = str(error)
        if wrong:
            raise WrongValues(wrong | fixed)
        if fixed:
            raise NotChangeable(fixed)
        return new
