"""A page of another web site that tries to change the lake through the user's browser."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from playwright.sync_api import Page

# The browser of the tests finds this host on this machine.
HOST = "evil.example"

LAUNCH = """mutation {
  launchRun(executionParams: {
    selector: {
      repositoryLocationName: "coinbase_assets", repositoryName: "__repository__",
      jobName: "__ASSET_JOB", assetSelection: [{path: ["ETH-EUR", "15m", "candle_chart"]}]
    }
    executionMetadata: {tags: [{key: "from", value: "FROM"}]}
  }) { __typename }
}"""
RUNS = "{ runsOrError { ... on Runs { results { tags { key value } } } } }"

ATTACK = """async ([target, launch, azurite, batch]) => {
  const url = `${target}/graphql`, document_ = from => launch.replace("FROM", from);
  const query = from => `${url}?query=${encodeURIComponent(document_(from))}`;
  const loaded = element => new Promise(done => { element.onload = element.onerror = done; });
  const image = new Image(), images = loaded(image);
  image.src = query("image");
  await images;
  for (const method of ["get", "post"]) {
    const frame = document.createElement("iframe"), form = document.createElement("form");
    frame.name = form.target = method;
    form.method = method;
    form.action = query(`form ${method}`);
    if (method == "get") {
      form.innerHTML = "<input name=query>";
      form.firstChild.value = document_("form get");
    }
    document.body.append(frame, form);
    const frames = loaded(frame);
    form.submit();
    await frames;
  }
  const text = {method: "POST", mode: "no-cors", credentials: "include"};
  for (const type of ["text/plain; application/json", "text/plain; application/graphql"]) {
    const body = type.endsWith("json") ? JSON.stringify({query: document_(type)}) : document_(type);
    await fetch(url, {...text, headers: {"Content-Type": type}, body}).catch(() => 0);
  }
  await fetch(query("get"), {mode: "no-cors"}).catch(() => 0);
  await fetch(azurite, {
    ...text, headers: {"Content-Type": "text/plain; boundary=b"}, body: batch
  }).catch(() => 0);
  return await new Promise(done => {
    const socket = new WebSocket(url.replace("http", "ws"), "graphql-ws");
    socket.onopen = () => done("open");
    socket.onerror = () => done("refused");
  });
}"""


def launch(page: Page, origin: str) -> object:
    """Let a page of the web UI send the mutation of the foreign page; return the answer."""
    return ask(page, LAUNCH.replace("FROM", origin))


def launched_from(page: Page) -> list[str]:
    """Return where the runs that this mutation has launched came from."""
    runs = ask(page, RUNS)["data"]["runsOrError"]["results"]
    return [tag["value"] for run in runs for tag in run["tags"] if tag["key"] == "from"]


def ask(page: Page, query: str) -> Any:
    """Return the answer to a GraphQL query that a page of the web UI sends."""
    send = """async query => {
      const headers = {"Content-Type": "application/json"}, body = JSON.stringify({query});
      return (await fetch("/graphql", {method: "POST", headers, body})).json();
    }"""
    return page.evaluate(send, query)


@contextmanager
def foreign_site() -> Iterator[str]:
    """Serve an empty page; yields its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _EmptyPage) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"http://{HOST}:{server.server_port}/"
        server.shutdown()


class _EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<body></body>")

    def log_message(self, *_: object) -> None:
        pass
