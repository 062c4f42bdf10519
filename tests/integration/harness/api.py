"""The business's side: center's HTTP API over the standard library."""

import base64
import http.client
import json


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def reason(self):
        return self.json["error"]["reason"]

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


def request(address, method, path, body=None, key=None, headers=None, timeout=20):
    """One request on a connection of its own. `body`: bytes as they are, anything else as JSON."""
    host, port = address.rsplit(":", 1)
    link = http.client.HTTPConnection(host, int(port), timeout=timeout)
    sent = dict(headers or {})
    if key is not None:
        sent.setdefault("Authorization", f"Bearer {key}")
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    try:
        link.request(method, path, body=body, headers=sent)
        response = link.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        link.close()


def text_message(data, registrations, **options):
    """The body of a send: JSON data to registrations; ttl, qos and so on into the message."""
    names = ("wait", "wait_timeout", "validate_only")
    chosen = {name: options.pop(name) for name in names if name in options}
    message = {"data": data}
    message.update(options)
    body = {"audience": {"registration_id": list(registrations)}, "message": message}
    if chosen:
        body["options"] = chosen
    return body


def bytes_message(data, registrations, **options):
    body = text_message(None, registrations, **options)
    del body["message"]["data"]
    body["message"]["data_b64"] = base64.b64encode(data).decode()
    return body
