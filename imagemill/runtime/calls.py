"""What a failed call tells its caller: a canonical code, a stable reason, a sentence, and the fields at fault.

The form is that of AIP-193: `google.rpc.ErrorInfo` with an upper-case reason, and `google.rpc.BadRequest` with one
violation a field. Nothing else ever leaves a server: `KeepExceptionsIn` is the outermost interceptor.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from inspect import isasyncgenfunction
from typing import Any, NoReturn

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2

from imagemill.ports.unavailable import PartUnavailable
from imagemill.runtime import metrics
from imagemill.runtime.logs import Seldom

log = logging.getLogger(__name__)

DOMAIN = "imagemill"
_DETAILS = "grpc-status-details-bin"
_OK = grpc.StatusCode.OK.name


class CallError(Exception):
    """A call can't be answered; every part of this is shown to the caller.

    `fields` names what is wrong with the request, as (path of the field, what is wrong with it).
    """

    def __init__(
        self, code: grpc.StatusCode, reason: str, message: str, fields: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.fields = tuple(fields)

    def details(self) -> bytes:
        """The serialized `google.rpc.Status`."""
        status = status_pb2.Status(code=_number(self.code), message=self.message)
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN))
        if self.fields:
            violations = [
                error_details_pb2.BadRequest.FieldViolation(field=field, description=problem)
                for field, problem in self.fields
            ]
            status.details.add().Pack(error_details_pb2.BadRequest(field_violations=violations))
        return bytes(status.SerializeToString())


def _number(code: grpc.StatusCode) -> int:
    return int(code_pb2.Code.Value(code.name))


def invalid(message: str, *fields: tuple[str, str], reason: str = "REQUEST_INVALID") -> CallError:
    """The request is wrong, whatever the state of the system."""
    return CallError(grpc.StatusCode.INVALID_ARGUMENT, reason, message, fields)


def not_found(name: str) -> CallError:
    """There is no batch of this name."""
    return CallError(grpc.StatusCode.NOT_FOUND, "BATCH_NOT_FOUND", f"There is no batch {name!r}.")


_UNFORESEEN = CallError(
    grpc.StatusCode.INTERNAL, "INTERNAL", "An unforeseen error of the mill's own; its log has the details."
)
_AWAY = CallError(
    grpc.StatusCode.UNAVAILABLE,
    "PART_UNAVAILABLE",
    "A part of the mill can't be used for the moment, or its disk is full; its log says which. Try again later.",
)

_away = Seldom()

Context = grpc.aio.ServicerContext[Any, Any]


class KeepExceptionsIn(grpc.aio.ServerInterceptor):
    """Turns every exception of a servicer into a status that says only what a caller may know."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wrap the handler by its kind."""
        handler = await continuation(handler_call_details)
        if handler is None:
            # By one name: whoever makes methods up must not make series.
            return grpc.unary_unary_rpc_method_handler(_one(_nobody_serves, "unknown"))
        # The stubs know handlers of synchronous servers only.
        served: Any = handler
        method = handler_call_details.method
        coders = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if served.unary_unary:
            return grpc.unary_unary_rpc_method_handler(_one(served.unary_unary, method), **coders)
        if served.stream_unary:
            return grpc.stream_unary_rpc_method_handler(_one(served.stream_unary, method), **coders)
        if served.unary_stream:
            return grpc.unary_stream_rpc_method_handler(_stream(served.unary_stream, method), **coders)
        return grpc.stream_stream_rpc_method_handler(_stream(served.stream_stream, method), **coders)


async def _nobody_serves(request: object, context: Context) -> NoReturn:
    raise CallError(grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN", "This service has no such method.")


def _one(behaviour: Callable[[Any, Context], Awaitable[Any]], method: str) -> Callable[[Any, Context], Awaitable[Any]]:
    async def guarded(request: Any, context: Context) -> Any:
        started = time.perf_counter()
        try:
            response = await behaviour(request, context)
        except Exception as error:
            await _refuse(context, error, method)
        finally:
            metrics.CALL_SECONDS.observe(time.perf_counter() - started, method)
        metrics.CALLS.add(method, _OK)
        return response

    return guarded


def _stream(behaviour: Callable[[Any, Context], Any], method: str) -> Callable[[Any, Context], Any]:
    """Guard a behaviour that answers with a stream: as a generator, or (health's Watch) by writing to its context."""
    return _many(behaviour, method) if isasyncgenfunction(behaviour) else _one(behaviour, method)


def _many(
    behaviour: Callable[[Any, Context], AsyncIterator[Any]], method: str
) -> Callable[[Any, Context], AsyncIterator[Any]]:
    async def guarded(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            async for response in behaviour(request, context):
                yield response
        except Exception as error:
            await _refuse(context, error, method)
        metrics.CALLS.add(method, _OK)

    return guarded


async def _refuse(context: Context, error: Exception, method: str) -> NoReturn:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, grpc.aio.AioRpcError):
        await _pass_on(context, error, method)
    if isinstance(error, PartUnavailable):
        # Whoever asks again and again, as a gateway does for work, would fill the log.
        if _away.is_due(f"{method} {error}"):
            log.warning("%s could not be answered: %s.", method, error)
        error = _AWAY
    if not isinstance(error, CallError):
        log.error("An unforeseen error in %s.", method, exc_info=error)
        error = _UNFORESEEN
    await _abort(context, method, error.code, error.message, error.details())


async def _pass_on(context: Context, error: grpc.aio.AioRpcError, method: str) -> NoReturn:
    """Answer with what a service behind this one answered, when those are words of ours."""
    metadata = error.trailing_metadata()
    details = metadata.get(_DETAILS) if metadata is not None else None
    if details is not None:
        await _abort(context, method, error.code(), error.details() or "", details)
    log.warning("A call behind %s failed: %s.", method, error.code().name)
    ours = _AWAY if error.code() is grpc.StatusCode.UNAVAILABLE else _UNFORESEEN
    await _abort(context, method, ours.code, ours.message, ours.details())


async def _abort(context: Context, method: str, code: grpc.StatusCode, message: str, details: str | bytes) -> NoReturn:
    metrics.CALLS.add(method, code.name)
    await context.abort(code, message, ((_DETAILS, details),))
