"""A forward proxy on loopback that sends every request to one server, whatever host the request names."""

from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

_HOP_HEADERS = {"host", "connection", "proxy-connection", "transfer-encoding", "keep-alive"}


class Proxy:
    """Forwards requests for S3 to `target`; a bucket in the host name becomes the start of the path."""

    def __init__(self, target: str, host: str) -> None:
        """Start the proxy.

        Args:
            target: the URL of the server.
            host: the host name of S3 that only this proxy can reach.
        """
        self.hosts: list[str] = []
        self._target, self._host = urlsplit(target), host
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Log nothing."""

            def _forward(self) -> None:
                proxy.forward(self)

            do_GET = do_PUT = do_HEAD = do_POST = _forward  # noqa: N815 (names of http.server)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def forward(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        self.hosts.append(url.netloc)
        bucket = url.netloc.removesuffix(self._host).rstrip(".")
        path = (f"/{bucket}" if bucket else "") + url.path + (f"?{url.query}" if url.query else "")
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_HEADERS}
        connection = HTTPConnection(self._target.netloc)
        connection.request(request.command, path, body, headers | {"Host": self._target.netloc})
        response = connection.getresponse()
        content = response.read()
        request.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _HOP_HEADERS | {"content-length", "date", "server"}:
                request.send_header(name, value)
        length = response.getheader("Content-Length") if request.command == "HEAD" else None
        request.send_header("Content-Length", length or str(len(content)))
        request.end_headers()
        request.wfile.write(content)
        connection.close()
