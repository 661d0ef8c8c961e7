"""Answers that only mean "too fast, not looked at", whatever their status is: read as a 429 from here on.

Two grounds, and no other. The user's word: `--busy-status N`. Or the body is, to the byte, a page that a gateway writes only where
it has not asked the API. What each page stands for was looked up in the gateways' sources and tried:

- nginx, 503: limit_req, limit_conn and `return 503`. What its proxying ends with is a 502 or a 504.
- HAProxy, 503: no server could be connected to, or the queue was full. An answer that breaks off is a 502.

Not among them, since the same page is written after the API was asked, too: every 502 and 504; Apache's 503 (a FastCGI backend that
dies over a request); Varnish's 503 (a backend that closes after it has read the request).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from loader.model import Response

TOO_MANY_REQUESTS = 429
SERVICE_UNAVAILABLE = 503
MAX_PAGE_BYTES = 1024

_NGINX = re.compile(
    rb"<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body(?: bgcolor=\"white\")?>\r\n"
    rb"<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n"
    rb"<hr><center>(?:nginx|openresty|angie)(?:/[0-9.]{1,20})?(?: \([A-Za-z]{1,20}\))?</center>\r\n</body>\r\n</html>\r\n"
    rb"(?:<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n){0,6}"
)
_HAPROXY = re.compile(
    rb"<html><body><h1>503 Service Unavailable</h1>\n"
    rb"No server is available to handle this request\.\n</body></html>\n{1,2}"
)


class BusyAnswers:
    """Knows which answers only mean "too fast". `statuses`: those of `--busy-status`."""

    def __init__(self, statuses: frozenset[int] = frozenset()) -> None:
        self.statuses = statuses - {TOO_MANY_REQUESTS}

    def read(self, response: Response) -> Response:
        """Return the answer, as a 429 where it means that."""
        if response.status in self.statuses or (response.status == SERVICE_UNAVAILABLE and is_stock_page(response)):
            headers: Mapping[str, str] = response.headers
            complete, uploaded = response.is_complete, response.is_upload_complete
            return Response(TOO_MANY_REQUESTS, headers, response.body, complete, uploaded, response.seconds)
        return response


def is_stock_page(response: Response) -> bool:
    """Say whether a 503 is, to the byte, a page of a gateway that has not asked the API."""
    body = response.body
    if not response.is_complete or len(body) > MAX_PAGE_BYTES:
        return False
    return _NGINX.fullmatch(body) is not None or _HAPROXY.fullmatch(body) is not None
