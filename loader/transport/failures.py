"""What a transport says of an attempt that brought no response: a text that is safe to show, and whether to go on at all.

The class of an exception never decides whether a request was sent; only the hook before the first byte does. aiohttp even
reports a broken answer as a made-up status 400 (reliability.md 0.2), so no status is ever read from an exception. Neither
repr nor args of a foreign exception is used: they hold the request's headers, and with them the token (reliability.md
0.10). What is said is the class, the words of the errno, and for certificates OpenSSL's own words.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

_MAX_WORDS = 200
_DNS_NAMES = {value: name for name, value in vars(socket).items() if name.startswith("EAI_")}

CHECK_CA = "Check the base URL; if the server's authority is private, name its certificates with --ca-file."
CHECK_TLS = "Check that the base URL's port speaks TLS 1.2 or newer."
CHECK_URL = "Check the base URL."
CHECK_PROXY = "Check the proxy's user and password."
CHECK_HOST = "Check the host's name in the base URL (--base-url), and that this machine can look it up."
CHECK_PORT = "Check host and port of the base URL (--base-url), and that the service is up."
CHECK_HTTP = "Check that the base URL (--base-url) is that of the API: what answers there does not speak HTTP."
_NO_SUCH_HOST = {getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA")} - {None}

_PROXY_WANTS_CREDENTIALS = 407


def describe(error: BaseException) -> str:
    """Describe an exception without a byte of the request or the answer in it."""
    words = _words(error)
    name = type(error).__name__
    return f"{name}: {words}" if words else name


def fatal_hint(error: BaseException) -> str | None:
    """Return what to do about a failure that no later attempt can get past; None where trying again is sound."""
    # In this order: a certificate error is an SSL error too.
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ServerFingerprintMismatch):
        return CHECK_CA
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return CHECK_TLS
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return CHECK_URL
    if isinstance(error, aiohttp.ClientHttpProxyError) and error.status == _PROXY_WANTS_CREDENTIALS:
        return CHECK_PROXY
    return None


def poor_hint(error: BaseException) -> str | None:
    """Return what to look at after a failure that a later attempt hardly gets past; None if it may well pass."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, socket.gaierror):
        return CHECK_HOST if cause.errno in _NO_SUCH_HOST else None
    if isinstance(cause, ConnectionRefusedError) or getattr(cause, "errno", None) == errno.ECONNREFUSED:
        return CHECK_PORT
    if isinstance(error, HttpProcessingError | aiohttp.ClientResponseError):
        return CHECK_HTTP
    return None


def _words(error: BaseException) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _plain(cause.verify_message)
    if isinstance(cause, ssl.SSLError):
        return _plain(cause.reason or "")
    if isinstance(cause, socket.gaierror):
        return _DNS_NAMES.get(cause.errno or 0, "")
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {int(cause.status)}"
    number = cause.errno if isinstance(cause, OSError) else None
    if number is not None and number in errno.errorcode:
        return os.strerror(number)
    return type(cause).__name__ if cause is not error else ""


def _plain(words: object) -> str:
    text = words if isinstance(words, str) else ""
    return "".join(character if character.isprintable() else "?" for character in text[:_MAX_WORDS])
