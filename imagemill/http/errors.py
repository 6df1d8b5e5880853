"""The one place that knows aiohttp's errors: each becomes a failure code and a sentence of ours."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable

import aiohttp
from aiohttp import http_exceptions

from imagemill.domain.failures import FailureCode, PermanentError, PipelineError, TransientError

_TLS_ERRORS = (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError, ssl.SSLError)
_IF_YOURS = "if it is yours, name the file of its authority in SSL_CERT_FILE"
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN)
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)

FOREIGN_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)
"""What aiohttp may raise out of a request or a body; `PipelineError`s of the guard pass unchanged."""


class MalformedFraming(aiohttp.ClientPayloadError):
    """A body's chunks are not what HTTP says they are; one that merely ends early is another error."""


def connect_failure(error: Exception, host: str) -> PipelineError:
    """Return what a request's failure means, up to and including the answer's headers."""
    for kinds, translate in _CONNECTING:
        if isinstance(error, kinds):
            return translate(error, host)
    return TransientError(
        FailureCode.CONNECTION_FAILED, f"The connection to {host} broke before it answered; try again later."
    )


def body_failure(error: Exception, host: str) -> PipelineError:
    """Return what a failure within an answer's body means."""
    if isinstance(error, TimeoutError):
        return TransientError(
            FailureCode.READ_TIMEOUT,
            f"{host} stopped sending in the middle of the picture; try again later, or with fewer downloads at a time.",
        )
    if isinstance(error, MalformedFraming):
        return _protocol(error, host)
    return TransientError(
        FailureCode.CONTENT_TRUNCATED,
        f"{host} ended the connection before the whole picture had come; "
        "if it does each time, the file is broken at its source.",
    )


def _caused_by(error: BaseException | None, kind: type[Exception]) -> bool:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__
    return error is not None


def _tls(error: Exception, host: str) -> PipelineError:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = _certificate_reason(error.certificate_error)
        return PermanentError(FailureCode.TLS_FAILED, f"The certificate of {host} {reason}.")
    return TransientError(
        FailureCode.TLS_FAILED,
        f"No secure connection to {host} could be agreed on; its server may be too old, or speak plain http there.",
    )


def _certificate_reason(error: Exception) -> str:
    """Say what is wrong with a certificate, by OpenSSL's X509_V_ERR numbers (x509_vfy.h)."""
    code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
    return {
        9: "is not valid yet; check this machine's clock",
        10: "has expired; its owner has to renew it",
        18: f"is signed by itself and not by an authority; {_IF_YOURS}",
        19: f"is signed by an authority that this machine does not trust; {_IF_YOURS}",
        20: f"is signed by an authority that this machine does not trust; {_IF_YOURS}",
        62: "is made out to another name; correct the host's name in the URL",
        64: "is made out to another address; use the host's name in the URL",
    }.get(code, f"can't be trusted; {_IF_YOURS}")


def _dns(error: Exception, host: str) -> PipelineError:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorDNSError) else error
    number = cause.errno if isinstance(cause, OSError) else None
    if number in _OUT_OF_FILES:
        return _out_of_files()
    if number == socket.EAI_AGAIN:
        return TransientError(
            FailureCode.DNS_FAILED,
            f"{host} could not be looked up; no name server answered. Check this machine's network.",
        )
    return TransientError(FailureCode.DNS_FAILED, f"There is no host of the name {host}; check the spelling.")


def _out_of_files() -> PipelineError:
    return TransientError(
        FailureCode.CONNECTION_FAILED, "The mill may open no more files; raise the limit with 'ulimit -n 65536'."
    )


def _connector(error: Exception, host: str) -> PipelineError:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ECONNREFUSED:
        assert isinstance(error, aiohttp.ClientConnectorError)  # by the table below
        return TransientError(
            FailureCode.CONNECTION_REFUSED,
            f"{host} refuses connections on port {error.port}; check the port, or try again later.",
        )
    if number == errno.ETIMEDOUT:
        return _connect_timeout(error, host)
    if number in _UNREACHABLE:
        return TransientError(FailureCode.CONNECTION_FAILED, f"No route leads to {host}; check this machine's network.")
    if number in _OUT_OF_FILES:
        return _out_of_files()
    return TransientError(FailureCode.CONNECTION_FAILED, f"No connection to {host} could be made; try again later.")


def _connect_timeout(_error: Exception, host: str) -> PipelineError:
    return TransientError(
        FailureCode.CONNECT_TIMEOUT, f"{host} did not accept a connection in time; try again later, or check the port."
    )


def _read_timeout(_error: Exception, host: str) -> PipelineError:
    return TransientError(
        FailureCode.READ_TIMEOUT,
        f"{host} accepted the request and did not answer in time; try again later, or with fewer downloads at a time.",
    )


def _protocol(error: Exception, host: str) -> PipelineError:
    if _caused_by(error, http_exceptions.LineTooLong):
        message = f"{host} answered with longer headers than the mill reads; tell its owner."
    else:
        message = f"{host} answered with something that is not valid HTTP; open the URL in a browser to see what it is."
    return TransientError(FailureCode.PROTOCOL_ERROR, message)


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
