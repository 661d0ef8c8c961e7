"""Which URLs a run may speak to: the rules that keep credentials on their way to one origin."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from loader.errors import UsageError
from loader.urls import check_base_url, check_proxy, is_loopback, origin


@pytest.mark.parametrize(
    "text, normal",
    [
        ("https://api.ozari.co.il", "https://api.ozari.co.il"),
        ("https://API.Ozari.co.il:443/", "https://api.ozari.co.il"),
        ("https://erp.example:8443/ozari/", "https://erp.example:8443/ozari"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_accepted_base_urls_have_one_form(text: str, normal: str) -> None:
    assert check_base_url(text) == normal
    assert check_base_url(normal) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "api.ozari.co.il",
        "ftp://host",
        "https://",
        "https:///path",
        "http://example.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "http://0.0.0.0:80",
        "https://host/a?x=1",
        "https://host?",
        "https://host/#f",
        "https://host/../x",
        "https://host/%2e%2e/x",
        "https://host//evil.example",
        "https://host/a b",
        "https://ho\nst",
        "https://host\\evil",
        "https://host:99999",
        "https://host:0",
        "https://ex\u00e4mple.com",
        "https://[::1",
    ],
)
def test_refused_base_urls(text: str) -> None:
    with pytest.raises(UsageError):
        check_base_url(text)


@pytest.mark.parametrize("check", [check_base_url, check_proxy])
def test_a_password_in_a_url_is_refused_and_not_repeated(check: Callable[[str], str]) -> None:
    with pytest.raises(UsageError) as caught:
        check("https://user:hunter2@host")
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_a_proxy_is_scheme_host_and_port() -> None:
    assert check_proxy("http://proxy.example:3128/") == "http://proxy.example:3128"
    with pytest.raises(UsageError):
        check_proxy("http://proxy.example:3128/path")
    with pytest.raises(UsageError):
        check_proxy("socks5://proxy.example:1080")


@pytest.mark.parametrize(
    "host, answer", [("127.8.9.1", True), ("::1", True), ("LOCALHOST", True), ("127.1", False), ("", False)]
)
def test_loopback(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer


def test_the_origin_has_no_path() -> None:
    assert origin("https://acme-1.canbus.com/api") == "https://acme-1.canbus.com"
