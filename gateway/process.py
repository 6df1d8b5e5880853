"""The gateway as a process of its own."""

from __future__ import annotations

import asyncio

from gateway.service import serve
from gateway.settings import GatewaySettings
from imagemill.runtime.health import STORAGE, Parts, service_answers
from imagemill.runtime.serving import Serving, dial
from imagemill.runtime.settings_api import SettingsApi
from imagemill.settings.live import Live, LiveSettings
from imagemill.settings.service_groups import Gateway
from imagemill.wiring.broker import open_broker

NAME = "imagemill gateway"


async def work(settings: LiveSettings[Gateway], stop: asyncio.Event) -> None:
    """Open the gateway's parts and serve until `stop` is set."""
    told = settings.values.value
    parts = Parts()
    serving = Serving(parts, SettingsApi(settings), told.reflection)
    live = Live(GatewaySettings.of(told))
    async with open_broker(told.broker_url) as broker, dial(told.storage_target) as channel:
        parts.need("the broker", broker.check)
        parts.need("the storage service", service_answers(channel, told.storage_target, STORAGE))
        with settings.values.followed_by(lambda changed: live.change(GatewaySettings.of(changed))):
            await serve(live, broker, serving, ready=asyncio.Event(), stop=stop)
