"""The settings of a running mill, as a client tells and changes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import grpc.aio

from imagemill.client.errors import translated
from imagemill.v1 import settings_service_pb2 as api
from imagemill.v1.settings_service_pb2_grpc import SettingsServiceStub

DEADLINE_S = 10.0


class SettingsClient:
    """A connection to the settings of a mill at `target`, in gRPC's notation: `host:port`, `unix:/path`.

    Both methods raise `MillError` when the mill refuses the call, and `MillUnreachable` when no mill answers.
    """

    def __init__(self, target: str) -> None:
        self._target = target

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self._target)
        self._stub = SettingsServiceStub(self._channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def list_settings(self) -> Sequence[api.Setting]:
        """Return every setting with its value and where it comes from; passwords are never told."""
        with translated(self._target):
            answer = await self._stub.ListSettings(api.ListSettingsRequest(), timeout=DEADLINE_S)
        return answer.settings

    async def update(self, values: Mapping[str, str]) -> Sequence[api.Setting]:
        """Change settings by name, all or none, and return them as they are now; safe to repeat.

        The reason of a refusal is SETTINGS_INVALID, SETTINGS_FIXED or SETTINGS_REFUSED; `fields` has what is wrong
        with each, under `values[NAME]`.
        """
        with translated(self._target):
            answer = await self._stub.UpdateSettings(api.UpdateSettingsRequest(values=values), timeout=DEADLINE_S)
        return answer.settings
