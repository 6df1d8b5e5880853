"""A failed call, as its caller meets it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2
from grpc.aio import AioRpcError
from grpc_status import rpc_status  # type: ignore[import-untyped]  # ships without types


class MillError(Exception):
    """A call failed.

    `reason` is stable and upper-case: the server's own word where it gave one (`BATCH_NOT_FOUND`), else the
    name of the gRPC status (`UNAVAILABLE`). `fields` says of each wrong field of the request what is wrong.
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
        """Whether the same call may succeed later: the server could not be reached, or is going down."""
        return self.status is grpc.StatusCode.UNAVAILABLE


@contextmanager
def translated() -> Iterator[None]:
    """Turn gRPC's errors into `MillError`, cause chained."""
    try:
        yield
    except AioRpcError as error:
        raise from_rpc_error(error) from error


def from_rpc_error(error: AioRpcError) -> MillError:
    """Read reason and fields from the details that the server attached (google.rpc.Status)."""
    reason, fields = error.code().name, dict[str, str]()
    for detail in _details_of(error):
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Is(info.DESCRIPTOR) and detail.Unpack(info):
            reason = info.reason or reason
        elif detail.Is(bad.DESCRIPTOR) and detail.Unpack(bad):
            fields |= {violation.field: violation.description for violation in bad.field_violations}
    return MillError(reason, error.details() or reason, status=error.code(), fields=fields)


def _details_of(error: AioRpcError) -> list[Any]:
    try:
        status = rpc_status.from_call(error)
    except ValueError:
        # Details that contradict the call's own status come from something between us and the mill.
        return []
    return list(status.details) if status is not None else []
