"""What stands before a real InfluxDB: it forwards, or answers what a test says instead."""

import contextlib
import http.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


class Front:
    """Answers POST.

    Attributes:
        answer: `(status, headers, body)`, "hang", "reset", or None to forward.
        struck: requests that were not forwarded.
    """

    def __init__(self, port):
        self.answer, self.struck, self._over = None, 0, Event()
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if front.answer is None or not self.path.startswith("/write"):
                    self.say(*front.forward("POST", self.path, body))
                    return
                front.struck += 1
                if front.answer in ("hang", "reset"):
                    front._over.wait(3 if front.answer == "hang" else 0)
                    self.close_connection = True
                    return
                self.say(*front.answer)

            def do_GET(self):
                self.say(*front.forward("GET", self.path, b""))

            def say(self, status, headers, body):
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body if status != 204 else b"")

            def log_message(self, *args):
                pass

        self._target = port
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def forward(self, method, path, body):
        connection = http.client.HTTPConnection("127.0.0.1", self._target, timeout=10)
        try:
            connection.request(method, path, body)
            reply = connection.getresponse()
            return reply.status, {}, reply.read()
        except OSError:
            return 503, {}, b"down"
        finally:
            connection.close()

    def close(self):
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
