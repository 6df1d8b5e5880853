"""One line of advice for each failure code: what a person can do about the items that failed with it."""

from __future__ import annotations

from collections.abc import Mapping

from imagemill.domain.failures import FailureCode

_C = FailureCode

ADVICE: Mapping[str, str] = {
    _C.SOURCE_INVALID: "not a URL that can be fetched; correct the line, the manifest says where",
    _C.SKIPPED_BY_INPUT: "marked in the list as not to be run",
    _C.ADDRESS_DENIED: "a private or reserved address; if it is yours, name its network with --allow-net",
    _C.DNS_FAILED: "the host has no address; check its spelling, or this machine's name servers",
    _C.CONNECT_TIMEOUT: "the host did not answer; try later, or look at this machine's network",
    _C.CONNECTION_REFUSED: "nothing listens there; check the port, or try later",
    _C.CONNECTION_FAILED: "the connection broke; try later",
    _C.TLS_FAILED: "the host's certificate is not valid; check the host's name",
    _C.READ_TIMEOUT: "the host fell silent; try later, or with fewer downloads at a time (--downloads, --per-host)",
    _C.DOWNLOAD_TIMEOUT: "took longer than allowed; raise --timeout for large pictures or slow hosts",
    _C.TOO_SLOW: "next to nothing arrived; try later, or lower min_bytes_per_s",
    _C.PROTOCOL_ERROR: "the answer is not valid HTTP; open the URL in a browser",
    _C.TOO_MANY_REDIRECTS: "redirected again and again; use the address at which a browser ends up",
    _C.REDIRECT_INVALID: "redirected to nowhere; use the picture's present address",
    _C.SOURCE_NOT_FOUND: "the picture is not there any more; correct or remove the line",
    _C.SOURCE_FORBIDDEN: "the server refuses; signed links may have expired",
    _C.SOURCE_REFUSED: "the server refuses; see column http_status",
    _C.SOURCE_RATE_LIMITED: "the server asks to slow down; try later with a lower --per-host",
    _C.SOURCE_SERVER_ERROR: "the server failed; try later",
    _C.CONTENT_EMPTY: "nothing was sent; open the URL in a browser",
    _C.CONTENT_TRUNCATED: "the picture ends too early; if it does each time, it is broken at its source",
    _C.CONTENT_TOO_SMALL: "fewer bytes than min_file_size; likely a tracking pixel or a placeholder",
    _C.CONTENT_TOO_LARGE: "more bytes than the limit; raise max_file_size, or provide a smaller file",
    _C.CONTENT_IS_HTML: "a web page came instead of a picture; use the picture's own address",
    _C.CONTENT_ENCODING_INVALID: "the compressed answer can't be undone; try later",
    _C.NOT_AN_IMAGE: "what came is no picture; check the address",
    _C.FORMAT_UNSUPPORTED: "a format the mill does not read; find the picture as JPEG, PNG or WebP",
    _C.DECODE_FAILED: "the file is damaged at its source",
    _C.TOO_MANY_PIXELS: "more pixels than the limit; raise max_pixels, or provide a smaller picture",
    _C.MEMORY_EXCEEDED: "needs more memory than a rendering process may take; raise child_memory",
    _C.RENDER_TIMEOUT: "took too long to render; raise render_timeout_s, or try faster encoder options",
    _C.RENDER_CRASHED: "the renderer died of it; please report it with its URL",
    _C.ENCODE_FAILED: "a variant can't be written like that; check the recipe against the format's limits",
    _C.STORE_UNAVAILABLE: "the output folder could not be read or written; see that it is still there",
    _C.STORE_FULL: "the disk is full; make room",
    _C.ABANDONED: "stopped its worker again and again; please report it with its URL and the log",
    _C.INTERNAL: "an error of the mill's own; please report it with the log",
}


def advice_for(code: str) -> str:
    """Give the advice for a code as it came over the wire; empty for one that a newer mill may have."""
    return ADVICE.get(code, "")
