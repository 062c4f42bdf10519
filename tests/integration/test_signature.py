"""What a callback gets verifies with a Standard Webhooks library that others wrote."""

import pytest
from harness import wire
from harness.callback import Callback
from harness.waiting import wait_until
from standardwebhooks.webhooks import Webhook, WebhookVerificationError


@pytest.fixture
def server():
    one = Callback()
    yield one
    one.stop()


def verify(secret, received, body=None):
    headers = {name.lower(): value for name, value in received.headers.items()}
    return Webhook(secret).verify((received.body if body is None else body).decode(), headers)


def add(app, url):
    answer = app.cluster.operator("POST", app.path("webhooks"), {
        "id": "shop", "url": url, "forward_types": ["*"], "allow_cidrs": ["127.0.0.0/8"]})
    assert answer.status == 201, answer
    return answer.json["secret"]


def ask(phone, app):
    phone.send_bytes(wire.upstream(app.id, 1, "order", b'{"item":17}'))
    return phone.expect("upstream_ack").code


def test_an_independent_library_takes_our_signature_and_no_other(cluster, app, server):
    secret = add(app, server.url)
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    wait_until(lambda: ask(phone, app) == 0)
    received = server.received[-1]
    assert verify(secret, received)["events"][0]["data"]["payload"] == {"item": 17}
    with pytest.raises(WebhookVerificationError):
        verify(secret, received, received.body.replace(b"17", b"18"))
    with pytest.raises(WebhookVerificationError):
        verify("whsec_" + "A" * 32, received)


def test_while_a_secret_is_rotated_both_verify(cluster, app, server):
    old = add(app, server.url)
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    wait_until(lambda: ask(phone, app) == 0)
    answer = app.cluster.operator("PATCH", app.path("webhooks/shop"), {"rotate_secret": True})
    assert answer.status == 200, answer
    new = answer.json["secret"]

    def signed_by_both():
        assert ask(phone, app) == 0
        return len(server.received[-1].headers["webhook-signature"].split(" ")) == 2
    wait_until(signed_by_both)
    verify(old, server.received[-1])
    verify(new, server.received[-1])
