"""The pages that gateways write by themselves, as nginx 1.22.1, HAProxy 2.6.12, Varnish 7.1.1 and Apache 2.4 were seen to."""

from __future__ import annotations

from loader.emulator.wire import HTML, Answer

REASONS = {403: "Forbidden", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}
NGINX_REASONS = REASONS | {503: "Service Temporarily Unavailable"}
HAPROXY_WORDS = {
    403: "Request forbidden by administrative rules.",
    429: "You have sent too many requests in a given amount of time.",
    500: "An internal server error occurred.",
    503: "No server is available to handle this request.",
}


def stock_page(gateway: str, status: int) -> Answer:
    """Return a gateway's own page for a status."""
    reason = REASONS[status]
    match gateway:
        case "nginx":
            title = f"{status} {NGINX_REASONS[status]}"
            page = (
                f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
                "<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"
            )
        case "haproxy":
            page = f"<html><body><h1>{status} {reason}</h1>\n{HAPROXY_WORDS[status]}\n</body></html>\n"
        case "varnish":
            page = (
                f"<!DOCTYPE html>\n<html>\n  <head>\n    <title>{status} Backend fetch failed</title>\n  </head>\n  <body>\n"
                f"    <h1>Error {status} Backend fetch failed</h1>\n    <p>Backend fetch failed</p>\n"
                "    <h3>Guru Meditation:</h3>\n    <p>XID: 3</p>\n    <hr>\n    <p>Varnish cache server</p>\n  </body>\n</html>\n"
            )
        case _:
            page = (
                '<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n'
                f"<title>{status} {reason}</title>\n</head><body>\n<h1>{reason}</h1>\n<p>The server is temporarily unable to "
                "service your\nrequest due to maintenance downtime or capacity\nproblems. Please try again later.</p>\n</body></html>\n"
            )
    return Answer(status, page.encode(), content_type=HTML)
