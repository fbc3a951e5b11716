"""How requests leave this machine: the proxies and certificates that the environment names.

The variables are those of curl. Each library reads only some of them, and httpx fails with a
traceback at a value that it does not know.
"""

import ipaddress
import os
import re
import ssl
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_SOCKS = ("socks5", "socks5h")
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
# The first that is set counts, for every library.
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
# requests knows ranges of addresses in NO_PROXY, other libraries only single addresses.
_THIS_MACHINE = "127.0.0.1,127.0.0.0/8,localhost,.localhost,::1"


class HttpxOptions(TypedDict):
    """Arguments of an httpx client."""

    trust_env: bool
    proxy: str | None
    verify: ssl.SSLContext


def prepare_network() -> None:
    """Check the variables, and make every library in this process and its children follow them.

    Services of this machine (Azurite, the web UI, the demo) are added to NO_PROXY. Raises
    ValueError, which names the variable and never shows a proxy's URL: it may hold a password.
    """
    for lower in _PROXIES:
        for name in (lower, lower.upper()):
            if text := _stripped(name):
                _check_proxy(name, text)
    for name in _CERTIFICATES:
        if text := _stripped(name):
            _check_certificates(name, Path(text))
    if bundle := _certificates():
        os.environ["REQUESTS_CA_BUNDLE"] = str(bundle)
    _bypass_proxies_on_this_machine()


def httpx_options(url: str) -> HttpxOptions:
    """Return the arguments with which an httpx client sends to `url` as the environment says."""
    return {"trust_env": False, "proxy": proxy_for(url), "verify": _client_context(_certificates())}


def proxy_for(url: str) -> str | None:
    """Return the proxy of `requests`, and so of Azure's SDK, for the URL."""
    from requests.utils import get_environ_proxies, select_proxy

    if _is_this_machine(urlsplit(url).hostname or ""):
        return None
    proxy = select_proxy(url, get_environ_proxies(url))
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _bypass_proxies_on_this_machine() -> None:
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES):
        return
    bypassed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if bypassed != "*" and not bypassed.endswith(_THIS_MACHINE):
        hosts = f"{bypassed},{_THIS_MACHINE}" if bypassed else _THIS_MACHINE
        os.environ |= {"no_proxy": hosts, "NO_PROXY": hosts}


def _stripped(name: str) -> str:
    """Return the variable's value, and remove whitespace at its ends, such as a carriage return."""
    text = os.environ.get(name, "")
    if text != text.strip():
        os.environ[name] = text.strip()
    return text.strip()


def _check_proxy(name: str, text: str) -> None:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        is_url = _HOST.fullmatch(parts.hostname or "") and parts.port != 0
    except ValueError:
        is_url = None
    if not is_url or not text.isprintable() or " " in text:
        raise ValueError(
            f"{name}: not the URL of a proxy; write http://HOST:PORT, with special characters of a"
            " password encoded (@ as %40), or unset it"
        )
    if parts.scheme not in ("http", "https", *_SOCKS):
        raise ValueError(f"{name}: no such kind of proxy; write http://HOST:PORT or unset it")
    if parts.scheme in _SOCKS and not (find_spec("socksio") and find_spec("socks")):
        raise ValueError(
            f"{name}: a SOCKS proxy needs pip install 'coinbase-assets[socks]';"
            " or write http://HOST:PORT"
        )


def _check_certificates(name: str, path: Path) -> None:
    try:
        _context(path)
    except ssl.SSLError:
        raise ValueError(
            f"{name}={path}: holds no certificates; name a PEM file or unset it"
        ) from None
    except OSError as error:
        raise ValueError(
            f"{name}={path}: cannot be read ({error.strerror}); correct it or unset it"
        ) from None


def _certificates() -> Path | None:
    """Return the file or folder of certificates that the environment names."""
    return next((Path(os.environ[name]) for name in _CERTIFICATES if os.environ.get(name)), None)


@cache
def _client_context(bundle: Path | None) -> ssl.SSLContext:
    """Return the context of all clients."""
    # Imported late, because reading the lake needs no httpx.
    import httpx

    return _context(bundle) if bundle else httpx.create_ssl_context()


@cache
def _context(bundle: Path) -> ssl.SSLContext:
    """Return a context with these certificates. Reading them takes 0.03 s."""
    if bundle.is_dir():
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)
