"""Requests made up from the OpenAPI document: never a 5xx, always an answer that it describes."""

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from starlette.testclient import TestClient

from inspection.predictor import load_predictor
from service import schemas
from service.application import create_app
from service.runtime import ServiceSettings

KEY = {"X-API-Key": "a secret"}


@pytest.fixture(scope="module")
def api(trained, castings, tmp_path_factory):
    """A running service whose made-up photographs are castings, damaged castings and noise."""
    contents = [path.read_bytes() for path in sorted((castings / "test").rglob("*.jpeg"))[:4]]
    contents += [contents[0][:400], b"", b"<html>"]
    photographs = st.sampled_from(contents) | st.binary(max_size=200)
    for kind in ("jpeg", "png", "bmp", "tiff", "webp"):
        schemathesis.openapi.media_type(f"image/{kind}", photographs)
    log = tmp_path_factory.mktemp("openapi") / "log.db"
    predictor = load_predictor(trained / "best.pth", "cpu", review=(0.1, 0.9))
    app = create_app(ServiceSettings(log=log, api_key=KEY["X-API-Key"]), predictor)
    with TestClient(app):
        yield schemathesis.openapi.from_asgi("/openapi.json", app)


DOCUMENT = create_app(ServiceSettings(), None).openapi()
OPERATIONS = [
    (path, method) for path, operations in DOCUMENT["paths"].items() for method in operations
]


@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [
        (path, method, mode)
        for path, method in OPERATIONS
        for mode in GenerationMode
        if path.startswith("/v1") or mode.is_positive  # the others take nothing to be wrong
    ],
)
def test_answers_are_those_of_the_document(api, path, method, mode):
    @given(case=api[path][method].as_strategy(generation_mode=mode))
    @settings(suppress_health_check=list(HealthCheck))
    def ask(case):
        # What the document calls binary need not be a photograph; and where the key alone was made
        # wrong, the right one takes its place here
        excluded = [positive_data_acceptance, negative_data_rejection]
        case.call_and_validate(headers=KEY, excluded_checks=excluded)

    ask()


def test_every_route_is_in_the_document():
    assert {path for path, _ in OPERATIONS} == {
        "/", "/healthz", "/readyz", "/metrics", "/v1/model", "/v1/predict", "/v1/predict/batch",
        "/v1/verdicts", "/v1/inspections",
    }  # fmt: skip


def test_every_route_has_a_group_and_a_summary_in_words():
    groups = {tag["name"] for tag in DOCUMENT["tags"] if tag["description"]}
    for path, method in OPERATIONS:
        operation = DOCUMENT["paths"][path][method]
        assert set(operation["tags"]) <= groups
        assert operation["tags"]
        assert " " in operation["summary"], operation["summary"]
        assert operation["description"]


def test_every_answer_has_an_example_that_fits_its_schema():
    for path, method in OPERATIONS:
        for response in DOCUMENT["paths"][path][method]["responses"].values():
            (content,) = response["content"].values()
            own = {"$ref": "#/schema", "schema": content["schema"]}
            jsonschema.validate(content["example"], own | {"components": DOCUMENT["components"]})


def test_the_example_of_a_request_fits_its_schema():
    body = DOCUMENT["paths"]["/v1/verdicts"]["post"]["requestBody"]["content"]["application/json"]
    (example,) = body["schema"]["examples"]
    assert schemas.NewDisposition(**example).model_dump() == example
