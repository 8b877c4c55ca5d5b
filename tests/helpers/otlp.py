"""A receiver of OTLP over HTTP in a process of its own: `python -m tests.helpers.otlp FILE` prints its port.

What arrives at /v1/traces is decoded with OpenTelemetry's own protocol buffers, and appended to FILE, a JSON object
a span.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.helpers.processes import wait_until

ROOT = Path(__file__).parents[2]


class Received:
    """The spans that have arrived at a receiver."""

    def __init__(self, port: int, file: Path) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self._file = file

    def all(self) -> list[dict[str, Any]]:
        """Every span so far, in the order of their start."""
        spans = [json.loads(line) for line in self._file.read_text().splitlines()] if self._file.exists() else []
        return sorted(spans, key=lambda span: span["start"])

    def named(self, name: str, **attributes: Any) -> list[dict[str, Any]]:
        """Those of one name and with these attributes (`task_id=7` is task.id)."""
        wanted = {key.replace("_", ".", 1): value for key, value in attributes.items()}
        return [s for s in self.all() if s["name"] == name and wanted.items() <= s["attributes"].items()]

    def wait(self, name: str, count: int = 1, **attributes: Any) -> list[dict[str, Any]]:
        """Those of one name, when so many have arrived."""

        def enough() -> list[dict[str, Any]]:
            found = self.named(name, **attributes)
            return found if len(found) >= count else []

        return wait_until(enough, f"{count} spans {name} {attributes or ''} have arrived", 30.0, every_s=0.05)


@contextmanager
def receiver(folder: Path) -> Iterator[Received]:
    """A receiver that is gone afterwards."""
    file = folder / "spans.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.otlp", str(file)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        yield Received(int(process.stdout.readline()), file)
    finally:
        process.kill()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def serve(file: Path) -> None:
    """Receive until killed."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
        ExportTraceServiceResponse,
    )

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path != "/v1/traces" or self.headers["Content-Type"] != "application/x-protobuf":
                self.send_error(404)
                return
            request = ExportTraceServiceRequest.FromString(body)
            with file.open("a") as lines:
                for span in spans_in(request):
                    lines.write(json.dumps(span) + "\n")
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_: object) -> None:
            """Not on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def spans_in(request: Any) -> Iterator[dict[str, Any]]:
    """The spans of a request, as plain values."""
    kinds = ("unspecified", "internal", "server", "client", "producer", "consumer")
    for resource in request.resource_spans:
        of_resource = _attributes(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "resource": of_resource,
                    "scope": scope.scope.name,
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    "parent_id": span.parent_span_id.hex() or None,
                    "name": span.name,
                    "kind": kinds[span.kind],
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "status": ("unset", "ok", "error")[span.status.code],
                    "attributes": _attributes(span.attributes),
                    "links": [
                        {
                            "trace_id": link.trace_id.hex(),
                            "span_id": link.span_id.hex(),
                            "attributes": _attributes(link.attributes),
                        }
                        for link in span.links
                    ],
                    "events": [{"name": event.name, **_attributes(event.attributes)} for event in span.events],
                }


def _attributes(pairs: Any) -> dict[str, Any]:
    read: dict[str, Callable[[Any], Any]] = {
        "string_value": str, "int_value": int, "double_value": float, "bool_value": bool, "array_value": str,
    }  # fmt: skip
    found = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        found[pair.key] = read[kind](getattr(pair.value, kind))
    return found


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
