"""services/center/openapi.yaml is the API: every example in it is sent, and every answer fits its schema."""

import copy
import json
import os
import re
import time

import jsonschema
import yaml

from harness import api

PATH = os.path.join(os.path.dirname(__file__), "..", "..", "services", "center", "openapi.yaml")
METHODS = ("get", "post", "patch", "delete")

with open(PATH, encoding="utf-8") as file:
    SPEC = yaml.safe_load(file)


def resolved(node):
    """The object that a $ref of the document names."""
    while "$ref" in node:
        found = SPEC
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def schema_of(operation, status):
    responses = operation["responses"]
    response = resolved(responses.get(str(status)) or responses["default"])
    content = response["content"]
    kind, body = next(iter(content.items()))
    return kind, body["schema"]


def check_answer(operation, answer, what):
    kind, schema = schema_of(operation, answer.status)
    root = dict(copy.deepcopy(schema), components=SPEC["components"])
    documents = answer.body.splitlines() if "ndjson" in kind and answer.status == 200 else [answer.body]
    for text in documents:
        try:
            jsonschema.Draft202012Validator(root).validate(json.loads(text))
        except jsonschema.ValidationError as error:
            raise AssertionError(f"{what}: {error.message} in {text!r}") from error


class Replay:
    """Sends one example after the other; what earlier ones made is named in later paths."""

    def __init__(self, cluster, app):
        self.cluster = cluster
        self.app = app
        for name in ("reg-0", "reg-1", "reg-2", "reg-3", "reg-gone"):
            app.registered(name).close()
        app.registered("reg-ana", user="ana")
        app.register("reg-idle")
        self.names = {"message_id": app.send("for the state", "reg-0").json["message_id"]}
        self.names["scheduled_id"] = app.call("POST", "messages", {
            "audience": "all", "message": {"data": "for later"},
            "options": {"send_at": time.time() + 86400}}).json["message_id"]
        self.sent = 0

    def key(self, role):
        if role == "operator":
            return f"operator.{self.cluster.OPERATOR_SECRET}"
        return self.app.key(role)

    def send(self, method, path, operation, body, status, reason, what):
        for name, value in self.names.items():
            path = path.replace("{" + name + "}", value)
        if isinstance(body, str):
            body = body.encode()
        answer = api.request(self.cluster.api_address(), method.upper(), path, body,
                             key=self.key(operation["x-role"]))
        assert answer.status == status, f"{what}: {answer}"
        check_answer(operation, answer, what)
        if reason:
            assert answer.reason == reason, f"{what}: {answer}"
        if method == "post" and status in (200, 201):
            for kind, name in (("/token_keys", "token_key_id"), ("/keys", "key_id")):
                if path.endswith(kind):
                    self.names[name] = answer.json["id"]
        self.sent += 1


def test_every_example_is_answered_as_it_says(cluster, app):
    # A registration with something owed, and a second token key's place free.
    replay = Replay(cluster, app)
    for path, item in SPEC["paths"].items():
        for method in METHODS:
            operation = item.get(method)
            if operation is None:
                continue
            before = replay.sent
            target = path.replace("{app}", str(app.id))
            content = operation.get("requestBody", {}).get("content", {})
            for body in content.values():
                for name, example in body.get("examples", {}).items():
                    replay.send(method, example.get("x-path", target), operation, example["value"],
                                example["x-status"], example.get("x-reason"),
                                f"{operation['operationId']}/{name}")
            for wanted in operation.get("x-requests", []):
                replay.send(method, wanted["path"], operation, None, wanted["status"],
                            wanted.get("reason"), f"{operation['operationId']} {wanted['path']}")
            assert replay.sent > before, f"{method} {path} has no example"


def test_every_operation_refuses_who_has_no_key_or_too_small_a_role(cluster, app):
    smaller = {"sender": "viewer", "admin": "sender", "operator": "admin"}
    for path, item in SPEC["paths"].items():
        for method in METHODS:
            operation = item.get(method)
            if operation is None:
                continue
            target = re.sub(r"\{\w+\}", "x", path.replace("{app}", str(app.id)))
            body = b"{}" if "requestBody" in operation else None
            answer = api.request(cluster.api_address(), method.upper(), target, body)
            assert answer.status == 401, f"{method} {path}: {answer}"
            check_answer(operation, answer, path)
            role = smaller.get(operation["x-role"])
            if role is not None:
                answer = api.request(cluster.api_address(), method.upper(), target, body,
                                     key=app.key(role))
                assert (answer.status in (401, 403)), f"{method} {path} as {role}: {answer}"
                check_answer(operation, answer, path)


def served_by_another_template(path, target, method):
    """/messages/batch is also a /messages/{message_id}."""
    for template, item in SPEC["paths"].items():
        pattern = re.sub(r"\{\w+\}", "[^/]+", template)
        if template != path and method in item and re.fullmatch(pattern, target):
            return True
    return False


def test_the_document_is_served_by_routes_that_exist_and_no_other(cluster, app):
    address = cluster.api_address()
    for path, item in SPEC["paths"].items():
        target = re.sub(r"\{\w+\}", "x", path.replace("{app}", str(app.id)))
        missing = [method for method in METHODS + ("put",) if method not in item
                   and not served_by_another_template(path, target, method)]
        for method in missing:
            answer = api.request(address, method.upper(), target, key=app.key("admin"))
            assert (answer.status, answer.reason) == (405, "METHOD_NOT_ALLOWED"), f"{method} {path}"
            assert answer.headers["Allow"]
    for target in ("/", "/v1", "/v1/", "/v2/apps", "/v1/apps/7/nothing"):
        answer = api.request(address, "GET", target, key=app.key("admin"))
        assert answer.status in (400, 404), f"{target}: {answer}"
