"""tools/callback: what the quickstart shows and a developer tries things out with."""

import subprocess

import pytest
from harness import api, wire
from harness.cluster import binary
from harness.waiting import wait_until


class Tool:
    def __init__(self, path, *options):
        self.path = path
        with open(path, "wb") as output:
            self.process = subprocess.Popen([binary("tools/callback/hf-callback"), "--bind", "127.0.0.1:0", *options],
                                            stdout=output, stderr=output)
        wait_until(lambda: "listening on" in self.text())
        self.url = self.text().split("listening on ")[1].split()[0].rstrip(",")

    def text(self):
        with open(self.path, encoding="utf-8") as file:
            return file.read()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(20) == 0


@pytest.fixture
def tool(tmp_path):
    tools = []

    def start(*options):
        tools.append(Tool(str(tmp_path / f"callback-{len(tools)}"), *options))
        return tools[-1]
    yield start
    for one in tools:
        one.stop()


def subscribe(app, url, **fields):
    """A callback made by the operator, as loopback must be opened. Returns its secret."""
    answer = app.cluster.operator("POST", app.path("webhooks"), {
        "id": "shop", "url": url, "forward_types": ["*"], "allow_cidrs": ["127.0.0.0/8"], **fields})
    assert answer.status == 201, answer.body
    return answer.json["secret"]


def ask(phone, app):
    """Send one message to the business; the code of its outcome."""
    phone.send_bytes(wire.upstream(app.id, 1, "order", b'{"item":17}'))
    return phone.expect("upstream_ack").code


def test_it_checks_prints_and_echoes(cluster, app, tool):
    secret = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
    good = tool("--secret", secret, "--echo")
    subscribe(app, good.url, secret=secret)
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    wait_until(lambda: ask(phone, app) == 0)
    assert "upstream.request reg-1" in good.text() and '"item":17' in good.text()
    assert "refused" not in good.text()


def test_a_wrong_secret_is_refused(cluster, app, tool):
    other = tool("--secret", "whsec_" + "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo=")
    subscribe(app, other.url)
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    wait_until(lambda: ask(phone, app) != 0 and "no signature fits" in other.text())
    assert "upstream.request" not in other.text()


def test_what_is_not_a_callback_is_refused(tool):
    one = tool()
    address = one.url.removeprefix("http://")
    assert "not checked" in one.text()
    assert api.request(address, "POST", "/", body=b"[1,2]").status == 400
    assert api.request(address, "POST", "/", body=b"\xff\x00").status == 400
    assert one.text().count("refused: not a callback's body") == 2


@pytest.mark.parametrize("options", [["--status", "99"], ["--answer", "{"], ["--secret", "x"],
                                     ["--secret-file", "/nowhere"], ["--what"], ["more"]])
def test_bad_usage_is_told(options):
    done = subprocess.run([binary("tools/callback/hf-callback"), *options], capture_output=True, timeout=20, check=False)
    assert done.returncode == 1 and done.stderr
