"""The conveyor on RabbitMQ, 3.10 or newer. `open_rabbitmq` is the way in.

`broker` keeps a session and makes a new one when it is lost; `session` is one life of the connections and publishes;
`topology` makes the queues, proves them and knows their epoch; `consumer` holds what was delivered; `trouble` says
what is wrong in words of ours.
"""

from __future__ import annotations

from imagemill.adapters.rabbitmq.broker import RabbitBroker, open_rabbitmq

__all__ = ["RabbitBroker", "open_rabbitmq"]
