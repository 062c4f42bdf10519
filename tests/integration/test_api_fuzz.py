"""The API against its own description: whatever openapi.yaml allows, and much that it does not, is answered as it says.

schemathesis (tests/integration/requirements.txt) makes requests from services/center/openapi.yaml; no answer may be a 5xx, and each must
be one that the document knows, in its shape.
"""

import json
import os

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi_checks

PATH = os.path.join(os.path.dirname(__file__), "..", "..", "services", "center", "openapi.yaml")
EXAMPLES = int(os.environ.get("HOLDFAST_FUZZ_EXAMPLES", "15"))  # of each kind, for each operation
CHECKS = [checks.not_a_server_error, openapi_checks.status_code_conformance,
          openapi_checks.content_type_conformance, openapi_checks.response_schema_conformance]

# Paths keep to one app and to names that exist now and then: else every request would end at the first 404.
NAMES = {"registration_id": ["reg-0", "reg-1"], "user_id": ["ana"], "tag": ["vip"]}


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    """Whatever was made becomes one line, or one for each item of a list."""
    lines = value if isinstance(value, list) else [value]
    return b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)


def operations(schema, method_filter):
    for result in schema.get_all_operations():
        operation = result.ok()
        if method_filter(operation.method.upper(), operation.path):
            yield operation


def steer(data, case, app, message_id):
    """Give the path a chance to name something that is there."""
    parameters = case.path_parameters or {}
    if "app" in parameters and data.draw(strategies.integers(0, 9)) > 0:
        parameters["app"] = app
    if "message_id" in parameters and data.draw(strategies.booleans()):
        parameters["message_id"] = message_id
    for name, known in NAMES.items():
        if name in parameters and data.draw(strategies.booleans()):
            parameters[name] = data.draw(strategies.sampled_from(known))


def fuzz(operation, base_url, headers, app, message_id):
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        @hypothesis.settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
                             suppress_health_check=list(hypothesis.HealthCheck),
                             phases=[hypothesis.Phase.generate])
        @hypothesis.given(data=strategies.data())
        def run(data):
            case = data.draw(operation.as_strategy(generation_mode=mode))
            steer(data, case, app, message_id)
            case.headers = {**(case.headers or {}), **headers}
            response = case.call(base_url=base_url, timeout=30)
            case.validate_response(response, checks=CHECKS)

        try:
            run()
        except hypothesis.errors.Unsatisfiable:
            pass  # nothing can be wrong about a request without parameters


@pytest.fixture
def target(cluster, app):
    """A base URL, the operators' headers, an app with a message, and what it holds."""
    app.register("reg-0")
    message_id = app.send("for the fuzzer", "reg-0").json["message_id"]
    headers = {"Authorization": f"Bearer operator.{cluster.OPERATOR_SECRET}"}
    return f"http://{cluster.api_address()}", headers, app.id, message_id


@pytest.mark.parametrize("removes", [False, True], ids=["making", "removing"])
def test_no_request_finds_an_undocumented_answer(cluster, target, removes):
    schema = schemathesis.openapi.from_path(PATH)
    count = 0
    for operation in operations(schema, lambda method, path: (method == "DELETE") == removes):
        fuzz(operation, *target)
        count += 1
    assert count > 3
    for process in cluster.all():
        assert process.alive(), f"{process.id} did not live through it"
