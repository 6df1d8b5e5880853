"""A failed call, as its caller meets it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import grpc
from grpc.aio import AioRpcError


class MillError(Exception):
    """A call failed.

    `reason` is stable and upper-case: the server's own word where it gave one (`BATCH_NOT_FOUND`), else the
    name of the gRPC status (`DEADLINE_EXCEEDED`). `fields` says of each wrong field of the request what is wrong.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        status: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.status = status
        self.fields = dict(fields or {})

    @property
    def may_pass(self) -> bool:
        """Whether the same call may succeed later: the mill, or a part of it, can't be reached or is going down."""
        return self.status is grpc.StatusCode.UNAVAILABLE


class MillUnreachable(MillError):
    """No mill answers at the target, or the connection to it broke; gRPC's own words are the cause."""

    def __init__(self, target: str) -> None:
        message = f"No mill answers at {target}. Is it running, and is this its address?"
        super().__init__("UNAVAILABLE", message, status=grpc.StatusCode.UNAVAILABLE)


@contextmanager
def translated(target: str) -> Iterator[None]:
    """Turn gRPC's errors into `MillError`, cause chained."""
    try:
        yield
    except AioRpcError as error:
        raise from_rpc_error(error, target) from error


def from_rpc_error(error: AioRpcError, target: str) -> MillError:
    """Read reason and fields from the details that the server attached (google.rpc.Status)."""
    # Only who fails pays for importing what failures are made of.
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status  # type: ignore[import-untyped]  # ships without types

    reason, fields = "", dict[str, str]()
    try:
        status = rpc_status.from_call(error)
    except ValueError:
        # Details that contradict the call's own status come from something between us and the mill.
        status = None
    for detail in status.details if status is not None else ():
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Is(info.DESCRIPTOR) and detail.Unpack(info):
            reason = info.reason
        elif detail.Is(bad.DESCRIPTOR) and detail.Unpack(bad):
            fields |= {violation.field: violation.description for violation in bad.field_violations}
    # The latter is what gRPC says when the connection is lost while it sends.
    lost = error.code() is grpc.StatusCode.UNAVAILABLE or error.details() == "Internal error from Core"
    if not reason and lost:
        return MillUnreachable(target)
    reason = reason or error.code().name
    return MillError(reason, error.details() or reason, status=error.code(), fields=fields)
