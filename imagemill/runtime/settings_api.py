"""The SettingsService over a process's live settings."""

from __future__ import annotations

import logging
from typing import Any

import grpc

from imagemill.runtime.calls import CallError, Context, invalid
from imagemill.settings.live import ChangeRefused, LiveSettings, NotChangeable, WrongValues
from imagemill.settings.loading import Row
from imagemill.v1 import settings_service_pb2 as api
from imagemill.v1.settings_service_pb2_grpc import SettingsServiceServicer

log = logging.getLogger(__name__)


class SettingsApi(SettingsServiceServicer):
    """Tells settings, and changes those that may be changed."""

    def __init__(self, settings: LiveSettings[Any]) -> None:
        self._settings = settings

    async def ListSettings(  # noqa: N802  # the name of the contract's call
        self, request: api.ListSettingsRequest, context: Context
    ) -> api.ListSettingsResponse:
        """Every setting."""
        return api.ListSettingsResponse(settings=map(_message, self._settings.resolved.rows))

    async def UpdateSettings(  # noqa: N802  # the name of the contract's call
        self, request: api.UpdateSettingsRequest, context: Context
    ) -> api.UpdateSettingsResponse:
        """Change some; raises `CallError`."""
        wished = dict(request.values)
        try:
            self._settings.update(wished)
        except WrongValues as error:
            raise invalid(str(error), *_fields(error.problems), reason="SETTINGS_INVALID") from error
        except NotChangeable as error:
            raise _precondition("SETTINGS_FIXED", str(error), *_fields(error.problems)) from error
        except ChangeRefused as error:
            raise _precondition("SETTINGS_REFUSED", str(error)) from error
        changed = [row for row in self._settings.resolved.rows if row.setting.name in wished]
        for row in changed:
            log.warning("%s is %s from now on.", row.setting.name, row.shown, extra={"action": "setting_changed"})
        return api.UpdateSettingsResponse(settings=map(_message, changed))


def _fields(problems: dict[str, str]) -> list[tuple[str, str]]:
    return [(f"values[{name}]", problem) for name, problem in problems.items()]


def _precondition(reason: str, message: str, *fields: tuple[str, str]) -> CallError:
    return CallError(grpc.StatusCode.FAILED_PRECONDITION, reason, message, fields)


def _message(row: Row) -> api.Setting:
    setting, origin = row.setting, row.origin
    assert origin is not None, "a process that runs has all that it needs"
    return api.Setting(
        name=setting.name,
        value=row.shown,
        source=api.Setting.Source.Value(f"SOURCE_{origin.layer.name}"),
        origin=origin.place,
        default_value=setting.default_shown,
        allowed=setting.kind.allowed,
        description=setting.help,
        changeable=setting.changeable,
        fixed_reason=setting.fixed_because,
    )
