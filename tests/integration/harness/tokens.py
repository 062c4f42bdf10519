"""Client tokens (JWT, HS256), made with the standard library alone."""

import base64
import hashlib
import hmac
import json
import time


def _part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def sign(app, registration, key_id, secret, lifetime=3600, algorithm="HS256", user=None, **claims):
    header = {"alg": algorithm, "kid": key_id, "typ": "JWT"}
    body = {"app": app, "sub": registration, "exp": int(time.time()) + lifetime}
    if user is not None:
        body["uid"] = user
    body.update(claims)
    text = _part(json.dumps(header).encode()) + b"." + _part(json.dumps(body).encode())
    return (text + b"." + _part(hmac.new(secret, text, hashlib.sha256).digest())).decode()
