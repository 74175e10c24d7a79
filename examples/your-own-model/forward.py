"""Pass each request on to a model that is served elsewhere, and its answer back. This runs as an inference service.

Where to, and with which key, comes from the settings file alone. So an account that may use the service cannot send the key elsewhere.
"""

import http.client
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

upstream = urlsplit(os.environ["UPSTREAM"])  # such as http://127.0.0.1:8081
key = os.environ.get("UPSTREAM_KEY")
proxy = urlsplit(os.environ.get("HTTP_PROXY", ""))  # the only way out of the sandbox; on Kubernetes there is none
is_tls = upstream.scheme == "https"
place = upstream.hostname, upstream.port or (443 if is_tls else 80)
TIMEOUT_S = 600
PASSED_ON = ("Content-Type", "Content-Encoding", "Retry-After", "Location")


def send(path, body, content_type):
    """Send a request to the model; returns status, headers and body of its answer."""
    kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
    connection = kind(*((proxy.hostname, proxy.port) if proxy.hostname else place), timeout=TIMEOUT_S)
    if proxy.hostname:
        connection.set_tunnel(*place)
    headers = {"Content-Type": content_type, "Accept": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    try:
        connection.request("POST", upstream.path.rstrip("/") + path, body, headers)
        answer = connection.getresponse()
        return answer.status, {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}, answer.read()
    finally:
        connection.close()


class Handler(BaseHTTPRequestHandler):
    """Passes requests on."""

    def do_GET(self):  # GET /ready: whether the model can be reached shows in its answers
        self.reply(200, {}, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            self.reply(*send(self.path, body, self.headers.get("Content-Type", "application/json")))
        except (OSError, http.client.HTTPException) as error:
            problem = {"error": f"{place[0]}:{place[1]} cannot be reached: {error}"}
            self.reply(502, {"Content-Type": "application/json"}, json.dumps(problem).encode())

    def reply(self, status, headers, answer):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)


ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
