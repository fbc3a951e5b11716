"""Removes the secrets of the environment from texts that people see: errors, logs, alerts."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from urllib.parse import parse_qsl, quote, quote_plus, unquote

from coinbase_assets.plain_text import MOST_SHOWN, shown, shown_lines

# Shorter texts also occur as parts of ordinary words: they are only removed where they stand alone,
# or, below the shortest length, where the text around them says that they are secret.
_SHORTEST, _SHORTEST_INSIDE_WORDS = 6, 12
# What says so. The examples in our own messages stay.
_NAMED = re.compile(
    r"\b((?:sig|AccountKey|SharedAccessSignature|\w*password)=)(?!KEY\b)[^\s&;,'\")]+",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"(?<=://)(?!USER:PASSWORD@)\S{1,300}(?=@)")
_PUBLIC_FIELD = re.compile(r".*(Protocol|Name|Endpoint|Suffix|Storage)", re.IGNORECASE)
_URL = re.compile(r"\b[\w+.-]{1,20}://(?P<login>[^/?#\s]*@)?(?P<host>[^/?#:\s,]*)")


def public(text: str, most: int | None = MOST_SHOWN) -> str:
    """Return the text as `shown` does, without secrets."""
    return shown(masked(text), most)


def public_lines(text: str) -> str:
    """Return the text as `shown_lines` does, without secrets."""
    return shown_lines(masked(text))


def masked(text: str) -> str:
    """Return the text with each secret of the environment, and each that is marked, as `...`."""
    pattern = _pattern(tuple((name, os.environ.get(name, "")) for name in SECRETS))
    if pattern:
        text = pattern.sub("...", text)
    return _LOGIN.sub("...", _NAMED.sub(r"\1...", text))


@lru_cache(maxsize=8)
def _pattern(values: tuple[tuple[str, str], ...]) -> re.Pattern[str] | None:
    secrets = {secret for name, value in values for secret in _parts(name, value)}
    forms = {form for secret in secrets for form in _forms(secret) if len(form) >= _SHORTEST}
    if not forms:
        return None
    return re.compile("|".join(map(_found_by, sorted(forms, key=len)[::-1])), re.IGNORECASE)


def _found_by(form: str) -> str:
    inside_words = len(form) >= _SHORTEST_INSIDE_WORDS
    return re.escape(form) if inside_words else rf"(?<!\w){re.escape(form)}(?!\w)"


def _forms(secret: str) -> set[str]:
    """Return the secret as it is, decoded, and encoded in each way that libraries use."""
    plain = unquote(secret)
    encoded = (
        encode(plain, safe, errors="surrogateescape")
        for encode in (quote, quote_plus)
        for safe in ("", "/")
    )
    return {secret, plain, *encoded}


def _parts(name: str, value: str) -> Iterator[str]:
    """Yield the secret texts in the value of a variable."""
    text = value.strip(" \t\r\n'\"")
    return (part for part in SECRETS[name](text) if part)


def _whole(text: str) -> Iterator[str]:
    yield text


def _of_connection_string(text: str) -> Iterator[str]:
    """Yield what is no public field: of a string that is malformed, perhaps all of it."""
    for field in re.split(r"[;\s]+", text):
        name, _, value = field.partition("=")
        if not _PUBLIC_FIELD.fullmatch(name):
            yield from (field, value)
        yield from _signatures(value.rpartition("?")[2])


def _of_sas(text: str) -> Iterator[str]:
    yield text
    yield from _signatures(text)


def _signatures(text: str) -> Iterator[str]:
    # A plus sign stands for itself in a signature, not for a space.
    pairs = parse_qsl(text.lstrip("?").replace("+", "%2B"))
    return (value for name, value in pairs if name.lower() == "sig")


def _of_server_url(text: str) -> Iterator[str]:
    yield text
    for url in _URL.finditer(text):
        yield (url["login"] or "").partition(":")[2].removesuffix("@")
    pairs = parse_qsl(text.partition("?")[2])
    yield from (value for name, value in pairs if "password" in name.lower())


def _of_urls(text: str) -> Iterator[str]:
    """Yield all parts: many services have their tokens in the path, or in place of the host."""
    yield text
    for url in re.split(r"[\s,;]+", text):
        rest = _URL.sub(_without_public_host, url)
        yield from (url, rest.lstrip("/"))
        yield from re.split(r"[/?&#=@:]+", rest)
        yield from (value for _, value in parse_qsl(rest.partition("?")[2]))


def _without_public_host(url: re.Match[str]) -> str:
    """Return the login, and the host if it may be a token: a domain or an address has dots."""
    host = "" if "." in url["host"] or url["host"] == "localhost" else url["host"]
    return f"{url['login'] or ''}{host}"


SECRETS: Mapping[str, Callable[[str], Iterator[str]]] = {
    "AZURE_STORAGE_CONNECTION_STRING": _of_connection_string,
    "AZURE_STORAGE_KEY": _of_connection_string,
    "AZURE_STORAGE_SAS_TOKEN": _of_sas,
    "AZURE_CLIENT_SECRET": _whole,
    "AZURE_CLIENT_CERTIFICATE_PASSWORD": _whole,
    "AZURE_PASSWORD": _whole,
    "COINBASE_BUDGET_URL": _of_server_url,
    "DAGSTER_POSTGRES_URL": _of_server_url,
    "COINBASE_ALERT_URLS": _of_urls,
    "COINBASE_HEARTBEAT_URL": _of_urls,
}
"""The variables that hold secrets, and what finds the secret texts in their values."""
