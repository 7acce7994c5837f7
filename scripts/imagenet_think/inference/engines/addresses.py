"""Addresses of servers: which are allowed, which are this machine's, and the proxies between."""

import ipaddress
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def problem(url: str) -> str | None:
    """Return what is wrong with the address of a server, without the secrets that it may hold."""
    if any(mark in url for mark in "@?#"):
        return (
            "contains a user name, password or query, which would be recorded: name the variable "
            "with the server's key in engines.server.key_variable instead"
        )
    if not origin(url).startswith(("http://", "https://")) or not url.isprintable() or " " in url:
        return f"is {url!r}, no address (http://…/v1)"
    return None


def origin(url: str) -> str:
    """Return scheme, host and port of a URL: nothing secret. A text that is no URL is "?"."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "?"
    if not host:
        return "?"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def is_loopback(url: str) -> bool:
    """Return whether a URL leads to this machine, which no proxy reaches."""
    try:
        found = socket.getaddrinfo(urlsplit(url).hostname, None)
    except (OSError, ValueError):  # only a proxy may know the name
        return False
    addresses = [ipaddress.ip_address(address[4][0]) for address in found]
    return all(address.is_loopback or address.is_unspecified for address in addresses)


def proxies(url: str) -> str:
    """Return the environment's proxies for a URL in words, without their passwords; or nothing."""
    parts = urlsplit(url)
    named = getproxies()
    found = [named[kind] for kind in (parts.scheme, "all") if named.get(kind)]
    if not found or proxy_bypass(parts.hostname or ""):
        return ""
    shown = {origin(proxy if "://" in proxy else f"http://{proxy}") for proxy in found}
    return (
        f" (through the environment's proxy {' or '.join(sorted(shown))}, unless no_proxy names "
        f"{parts.hostname})"
    )
