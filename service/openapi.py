"""What the OpenAPI document says besides paths and schemas: groups of routes, errors, examples."""

from pydantic import BaseModel

from service import schemas
from service.examples import ANSWERS, NOT_READY, REFUSALS

DESCRIPTION = """Inspects photographs of parts, and records every decision in a log before it is
answered.

A service with a key (`CASTING_API_KEY`) wants it as `X-API-Key`, or as a bearer token: press
*Authorize*. One without a key answers programs on its own machine alone. Every error has
the same shape: `{"error": {"code", "message", "inspection_id"}}`. Each GET can be asked as HEAD."""
INSPECTING, LOG, MODEL, WATCHING = "Inspecting", "Log", "Model", "Watching"
TAGS = [
    {"name": INSPECTING, "description": "Photographs in, decisions out."},
    {"name": LOG, "description": "What was recorded, and what persons say about it."},
    {"name": MODEL, "description": "What decides, and how well."},
    {"name": WATCHING, "description": "For those who run the service, and for what watches it."},
]


def refusals(meanings: dict[int, str]) -> dict:
    """Errors by their status, as `responses` of a route."""
    return {
        status: {"model": schemas.Error, "description": meaning}
        for status, meaning in meanings.items()
    }


WRONG_KEY = refusals({401: "wrong or missing X-API-Key"})
ELSEWHERE = refusals({403: "without a key only programs on this machine may call"})
ERRORS = {
    **WRONG_KEY,
    **ELSEWHERE,
    **refusals(
        {
            400: "not a request of HTTP or JSON",
            408: "the body came too slowly",
            413: "the body is too large",
            422: "a wrong parameter, or a photograph that cannot be inspected",
            500: "a bug",
            503: "busy, or the decision could not be recorded",
        }
    ),
}
UNSUPPORTED = refusals({415: "neither a photograph nor a form"})
UNKNOWN = refusals({404: "no such inspection"})
DECIDED = refusals({409: "somebody else was faster, or there is nothing to withdraw"})
NOT_TAKING = {503: {"model": schemas.Health, "description": "no parts are taken, and why"}}


def with_examples(document: dict) -> dict:
    """The document that FastAPI makes, with an example of each answer.

    Not by `responses` of the routes: FastAPI drops what is null in an example, and gives errors of
    a route that answers in text the media type of text, although they are JSON.
    """
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                (content,) = response["content"].values()
                if status.startswith("2"):
                    content["example"] = as_json(ANSWERS[method, path])
                    continue
                example = NOT_READY if path == "/readyz" and status == "503" else None
                content["example"] = as_json(example or REFUSALS[int(status)])
                response["content"] = {"application/json": content}
    return document


def as_json(example: BaseModel | str) -> dict | str:
    """An example as JSON."""
    return example.model_dump() if isinstance(example, BaseModel) else example
