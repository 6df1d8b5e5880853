"""What can go wrong between here and the broker, in words that say what to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from aio_pika import exceptions

from imagemill.ports.broker import BrokerUnavailable

# What the libraries would tell, some of it as tracebacks, is told here once and in our words.
for name in ("aio_pika", "aiormq"):
    logging.getLogger(name).setLevel(logging.CRITICAL)

_BROKEN = (*exceptions.CONNECTION_EXCEPTIONS, TimeoutError)


def place(url: str) -> str:
    """Where a broker is, without the user and the password."""
    parts = urlsplit(url)
    port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    return f"{parts.hostname or 'localhost'}:{port}{parts.path if parts.path != '/' else ''}"


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn the libraries' errors into `BrokerUnavailable`."""
    try:
        yield
    except _BROKEN as error:
        raise BrokerUnavailable(_sentence(error, where)) from error
    except asyncio.CancelledError as error:
        # A connection that breaks also cancels what waits for its answers; nobody has cancelled this task then.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerUnavailable(f"the connection to RabbitMQ at {where} broke") from error


def _sentence(error: BaseException, where: str) -> str:
    match error:
        case exceptions.AuthenticationError() | exceptions.ProbableAuthenticationError():
            return f"RabbitMQ at {where} refuses the user or the password of the broker URL"
        case exceptions.IncompatibleProtocolError():
            return f"what listens at {where} is no RabbitMQ, or wants TLS (amqps)"
        case exceptions.ChannelPreconditionFailed():
            return f"RabbitMQ at {where} has a queue or exchange of another kind under one of the mill's names: {error}"
        case exceptions.ChannelNotFoundEntity():
            return f"a queue of the mill is gone, or down, on RabbitMQ at {where}"
        case exceptions.DeliveryError() if not isinstance(error, exceptions.PublishError):
            return f"RabbitMQ at {where} takes no more messages for a queue: a length limit of a policy is reached"
        case exceptions.PublishError():
            return f"a queue of the mill is gone on RabbitMQ at {where}"
        case TimeoutError():
            return f"RabbitMQ at {where} does not answer, or holds publishers back (low memory or disk)"
        case exceptions.InvalidFrameError():
            # The only answer out of turn that RabbitMQ gives to the steps of connecting.
            return f"RabbitMQ at {where} has no such virtual host, or refuses it to the user"
        case OSError() if not isinstance(error, exceptions.ConnectionClosed):
            return f"RabbitMQ can't be reached at {where}"
    return f"the connection to RabbitMQ at {where} broke"
