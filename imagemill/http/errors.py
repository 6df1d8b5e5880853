"""The one place that knows aiohttp's errors: each becomes a failure code and a sentence of ours."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable

import aiohttp

from imagemill.domain.failures import FailureCode, PermanentError, PipelineError, TransientError

_TLS_ERRORS = (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError, ssl.SSLError)
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN)
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)

FOREIGN_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)
"""What aiohttp may raise out of a request or a body; `PipelineError`s of the guard pass unchanged."""


def connect_failure(error: Exception, host: str) -> PipelineError:
    """Return what a request's failure means, up to and including the answer's headers."""
    for kinds, translate in _CONNECTING:
        if isinstance(error, kinds):
            return translate(error, host)
    return TransientError(FailureCode.CONNECTION_FAILED, f"The connection to {host} broke before it answered.")


def body_failure(error: Exception, host: str) -> PipelineError:
    """Return what a failure within an answer's body means."""
    if isinstance(error, TimeoutError):
        return TransientError(FailureCode.READ_TIMEOUT, f"{host} stopped sending in the middle of the picture.")
    return TransientError(
        FailureCode.CONTENT_TRUNCATED, f"{host} ended the connection before the whole picture had come."
    )


def _tls(error: Exception, host: str) -> PipelineError:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = _certificate_reason(error.certificate_error)
        return PermanentError(FailureCode.TLS_FAILED, f"The certificate of {host} {reason}.")
    return TransientError(FailureCode.TLS_FAILED, f"No secure connection to {host} could be agreed on.")


def _certificate_reason(error: Exception) -> str:
    """Say what is wrong with a certificate, by OpenSSL's X509_V_ERR numbers (x509_vfy.h)."""
    code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
    return {
        9: "is not valid yet",
        10: "has expired",
        18: "is signed by itself and not by an authority",
        19: "is signed by an authority that this machine does not trust",
        20: "is signed by an authority that this machine does not trust",
        62: "is made out to another name",
        64: "is made out to another address",
    }.get(code, "can't be trusted")


def _dns(error: Exception, host: str) -> PipelineError:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorDNSError) else error
    if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN:
        return TransientError(FailureCode.DNS_FAILED, f"{host} could not be looked up; no name server answered.")
    return TransientError(FailureCode.DNS_FAILED, f"There is no host of the name {host}; check the spelling.")


def _connector(error: Exception, host: str) -> PipelineError:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ECONNREFUSED:
        assert isinstance(error, aiohttp.ClientConnectorError)  # by the table below
        return TransientError(
            FailureCode.CONNECTION_REFUSED, f"{host} refuses connections on port {error.port}; no server listens there."
        )
    if number == errno.ETIMEDOUT:
        return _connect_timeout(error, host)
    if number in _UNREACHABLE:
        return TransientError(FailureCode.CONNECTION_FAILED, f"No route leads to {host} from this machine.")
    if number in _OUT_OF_FILES:
        return TransientError(
            FailureCode.CONNECTION_FAILED, "The mill may open no more files; raise the limit with 'ulimit -n 65536'."
        )
    return TransientError(FailureCode.CONNECTION_FAILED, f"No connection to {host} could be made.")


def _connect_timeout(_error: Exception, host: str) -> PipelineError:
    return TransientError(FailureCode.CONNECT_TIMEOUT, f"{host} did not accept a connection in time.")


def _read_timeout(_error: Exception, host: str) -> PipelineError:
    return TransientError(FailureCode.READ_TIMEOUT, f"{host} accepted the request and then did not answer in time.")


def _protocol(_error: Exception, host: str) -> PipelineError:
    return TransientError(FailureCode.PROTOCOL_ERROR, f"{host} answered with something that is not HTTP.")


def _url(_error: Exception, host: str) -> PipelineError:
    return PermanentError(FailureCode.SOURCE_INVALID, f"'{host}' can't be read as the host of a URL.")


_CONNECTING: tuple[tuple[tuple[type[Exception], ...], Callable[[Exception, str], PipelineError]], ...] = (
    # Special before general: most of these are OSErrors, and some are two things at once.
    (_TLS_ERRORS, _tls),
    ((aiohttp.ClientConnectorDNSError,), _dns),
    ((aiohttp.ConnectionTimeoutError,), _connect_timeout),
    ((aiohttp.ClientConnectorError,), _connector),
    ((aiohttp.SocketTimeoutError, asyncio.TimeoutError), _read_timeout),
    ((aiohttp.ClientResponseError, aiohttp.ClientPayloadError), _protocol),
    ((aiohttp.InvalidURL,), _url),
)
