"""Which names and addresses are those of this machine alone."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_here(host: str) -> bool:
    """Whether a Host header, with a port or without, names this machine alone."""
    try:
        name, _ = (parts := urlsplit(f"//{host}")).hostname, parts.port  # a port that is none raises as well
        return is_loopback(name or "")
    except ValueError:  # no address, or no port
        return False
