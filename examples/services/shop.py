"""A small service to deploy: it answers with its version, and ends when it is asked to, after what it is answering."""

import http.server
import os
import signal
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = os.environ["VERSION"] if self.path == "/version" else f"hello from {os.environ['SLOT']}\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Version", os.environ["VERSION"])
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        """Requests are logged by the web server in front."""


class Server(http.server.ThreadingHTTPServer):
    # Beyond the usual 5, or a burst of new connections is refused.
    request_queue_size = 128


server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print(f"shop {os.environ['VERSION']} listens on {server.server_port}", file=sys.stderr, flush=True)
server.serve_forever()
