"""Requests to this machine's own services bypass any proxy."""

import os

_THIS_MACHINE = "127.0.0.1,localhost"


def bypass_proxies_on_this_machine() -> None:
    """If a proxy is set, add this machine to NO_PROXY for Azurite, the web UI and the demo."""
    if {"http_proxy", "all_proxy"}.isdisjoint(name.lower() for name in os.environ):
        return
    bypassed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    if bypassed != "*":
        hosts = f"{bypassed},{_THIS_MACHINE}" if bypassed else _THIS_MACHINE
        os.environ |= {"no_proxy": hosts, "NO_PROXY": hosts}
