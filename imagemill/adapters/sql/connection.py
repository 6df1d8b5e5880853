"""What the shared SQL asks of a dialect's connection: statements whose results come whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from sqlalchemy import Executable, RowMapping

NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})


class Connection(Protocol):
    """A connection inside a transaction.

    A caller that is cancelled leaves no statement at work: it runs to its end before the cancellation goes on, or is
    cancelled where it runs. Either way the transaction is rolled back and nothing is left locked.
    """

    async def rows(
        self, query: Executable, parameters: Mapping[str, Any] = NO_PARAMETERS, *, long: bool = False
    ) -> Sequence[RowMapping]:
        """All rows of a query, by column name; `long` says that it may have many to read."""

    async def change(
        self, statement: Executable, parameters: Mapping[str, Any] = NO_PARAMETERS, *, long: bool = False
    ) -> int:
        """Run a statement that returns nothing; the number of rows it matched. `long` as in `rows`."""

    async def driver_rows(self, statement: str, parameters: tuple[Any, ...]) -> Sequence[Sequence[Any]]:
        """All rows of a query in the driver's wording."""

    async def driver_change(self, statement: str, parameters: Sequence[tuple[Any, ...]]) -> None:
        """Run a statement in the driver's wording once for each of the parameters, in one call of the driver."""
