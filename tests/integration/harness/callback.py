"""A business's callback server: real HTTP, with every way to misbehave."""

import base64
import hashlib
import hmac
import http.server
import json
import socketserver
import threading


def signature_is_valid(secret, headers, body):
    """Standard Webhooks, written from its text: any of the v1 signatures fits."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(one, f"v1,{wanted}") for one in headers["webhook-signature"].split(" "))


class Received:
    def __init__(self, path, headers, body, port):
        self.path = path
        self.headers = headers
        self.body = body
        self.port = port  # of the client's side: tells connections apart
        self.json = json.loads(body)
        self.event = self.json["events"][0]
        self.data = self.event["data"]


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # a client that hung up is what some tests are about


class Callback:
    """`answer(received)` returns (status, headers, body), or None after it has used `received.raw` itself."""

    def __init__(self, answer=None, host="127.0.0.1"):
        self.received = []
        self.lock = threading.Lock()
        self.answer = answer or (lambda received: (200, {}, b""))
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body leave in two writes

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received = Received(self.path, self.headers, body, self.client_address[1])
                received.raw = self
                with outer.lock:
                    outer.received.append(received)
                answer = outer.answer(received)
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = _Server((host, 0), Handler)
        self.host = host
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://{self.host}:{self.port}/hook"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
