"""The program `python -m coinbase_assets.web.server`: Dagster's web UI behind the request rules."""

import argparse
import os
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import uvicorn
from dagster import DagsterInstance
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from coinbase_assets.dagster_instance.private_web_names import (
    WorkspaceFileTarget,
    WorkspaceProcessContext,
)
from coinbase_assets.environment.secrets import public
from coinbase_assets.local_sockets import connected_user
from coinbase_assets.settings import SettingsError, load_settings
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.web.request_rules import refusal

if TYPE_CHECKING:
    from coinbase_assets.web.metrics import MetricsPage

HOST = "127.0.0.1"
_ROOT = 0
# Dagster's own defaults: milliseconds, seconds, connections.
_DATABASE = {"statement_timeout": 15_000, "pool_recycle": 3_600, "max_overflow": 20}
# The code of RFC 6455 for a connection that breaks a policy.
_POLICY_VIOLATION = 1008


@dataclass(frozen=True)
class RequestGuard:
    """Refuses requests of foreign hosts, web pages and users, and changes by GET, with 403."""

    app: ASGIApp
    more_hosts: Collection[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = self._refusal(HTTPConnection(scope)) if scope["type"] != "lifespan" else None
        if reason is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        else:
            await PlainTextResponse(f"Refused: {reason}\n", 403)(scope, receive, send)

    def _refusal(self, request: HTTPConnection) -> str | None:
        if not self.more_hosts and _is_of_other_user(request):
            return "the request comes from another user of this machine"
        method, query = request.scope.get("method", "GET"), request.query_params.get("query", "")
        return refusal(method, request.url.path, query, request.headers, self.more_hosts)


def _is_of_other_user(request: HTTPConnection) -> bool:
    """Whether another user has connected, apart from root. A reverse proxy is another user."""
    server = request.scope["server"]
    user = connected_user(tuple(request.scope["client"]), server[1])
    return user not in (None, _ROOT, os.geteuid())


class _GuardedWebserver(DagsterWebserver):
    def build_routes(self) -> list[BaseRoute]:
        return [Route("/metrics", self._show_metrics), *super().build_routes()]

    def _show_metrics(self, request: Request) -> PlainTextResponse:
        try:
            return PlainTextResponse(self._metrics.text(), media_type=CONTENT_TYPE_LATEST)
        except (SettingsError, StorageError, OSError) as error:
            return PlainTextResponse(f"{public(str(error))}\n", 503)

    @cached_property
    def _metrics(self) -> "MetricsPage":
        # It loads Azure's libraries, which the web UI does not need.
        from coinbase_assets.web.metrics import MetricsPage

        return MetricsPage(load_settings(), self._process_context.instance)

    def build_middleware(self) -> list[Middleware]:
        guard = Middleware(RequestGuard, more_hosts=load_settings().web_hosts)
        return [guard, *super().build_middleware()]


def main() -> None:
    """Serve the web UI, by default on 127.0.0.1, until a signal ends the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", required=True)
    parser.add_argument("--port", type=int, required=True)
    # Another address is for containers, whose network decides who can connect.
    parser.add_argument("--host", default=HOST)
    options = parser.parse_args()
    workspace = WorkspaceFileTarget([options.workspace])
    with (
        DagsterInstance.get() as instance,
        WorkspaceProcessContext(instance, workspace, version=__version__) as context,
    ):
        instance.optimize_for_webserver(**_DATABASE)
        app = _GuardedWebserver(context).create_asgi_app()
        # With `proxy_headers`, a header of the request would replace the address of its sender.
        uvicorn.run(
            app, host=options.host, port=options.port, log_level="warning", proxy_headers=False
        )


if __name__ == "__main__":
    main()
