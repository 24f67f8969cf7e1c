"""What requests of the service hold: photographs, forms, times; and how OpenAPI says so."""

from datetime import datetime
from typing import Annotated, get_args, get_origin

from fastapi import Query, Request
from pydantic import AfterValidator, Field
from starlette.datastructures import UploadFile

from common.text import UNPRINTABLE, count_of
from inspection.recording import MAX_IMAGE_BYTES
from service.limits import MAX_BATCH_PARTS
from service.middleware import RefusedError

FORM_BYTES = 1 << 16  # a form's own lines around its photographs

TIME = r"\d{4}-\d\d-\d\d(T\d\d(:\d\d(:\d\d(\.\d{3})?)?)?Z?)?"  # UTC
MAX_LETTERS = 100  # of a name, station or lot
Name = Annotated[str | None, Query(max_length=MAX_LETTERS, examples=["part.jpeg"])]
SERIAL = {"max_length": MAX_LETTERS, "examples": ["S0042"]}


def one_line(text: str) -> str:
    """A text as it is; two that differ in what cannot be seen would become one in the log.

    Raises:
        ValueError: there are control characters in it.
    """
    if UNPRINTABLE.search(text.strip()):
        raise ValueError("must be one line, without control characters")
    return text


Line = Annotated[str, AfterValidator(one_line)]
Station = Annotated[Line | None, Query(max_length=MAX_LETTERS, examples=["line3"])]
Lot = Annotated[Line | None, Query(max_length=MAX_LETTERS, examples=["A17"])]
Serial = Annotated[Line | None, Query(**SERIAL)]
Serials = Annotated[list[Annotated[Line, Field(**SERIAL)]] | None, Query()]
Time = Annotated[str | None, Query(pattern=rf"^{TIME}$", examples=["2026-11-24T09:30"])]
BINARY = {"type": "string", "format": "binary"}


def form_of(field: str, schema: dict) -> dict:
    """OpenAPI of a multipart form with one required field."""
    return {"schema": {"type": "object", "properties": {field: schema}, "required": [field]}}


ONE_PHOTOGRAPH = {
    "required": True,
    "content": {
        "multipart/form-data": form_of("file", BINARY),
        **{f"image/{kind}": {"schema": BINARY} for kind in ("jpeg", "png", "bmp", "tiff", "webp")},
        "application/octet-stream": {"schema": BINARY},
    },
}
PHOTOGRAPHS = {
    "required": True,
    "content": {
        "multipart/form-data": form_of(
            "files", {"type": "array", "items": BINARY, "minItems": 1, "maxItems": MAX_BATCH_PARTS}
        )
    },
}


def media_type(request: Request) -> str:
    """'image/jpeg', without parameters; empty when the client names none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def photograph(request: Request) -> tuple[str, bytes]:
    """The name and content of the one photograph, in a form or as the body itself.

    Raises:
        RefusedError: there is none, or something else.
    """
    kind = media_type(request)
    if kind == "multipart/form-data":
        ((name, data),) = await form_files(request, "file", 1)
    elif kind in ("", "application/octet-stream") or kind.startswith("image/"):
        name, data = "", await request.body()
    else:
        raise RefusedError(
            415, "unsupported",
            f"{kind[:100]}: send a form, or a photograph with a Content-Type such as image/jpeg",
        )  # fmt: skip
    if not data:
        raise RefusedError(422, "no_file", "there is no photograph in the request")
    return name, data


async def form_files(request: Request, field: str, limit: int) -> list[tuple[str, bytes]]:
    """Names and contents of the files in `field` of a form.

    Raises:
        RefusedError: there is none, or something else.
    """
    async with request.form(max_files=limit + 1, max_fields=10) as form:
        others = {name for name, _ in form.multi_items()} - {field}
        if others:
            raise RefusedError(
                422, "invalid",
                f"'{field}' is the form's only field; name, station, lot and serial go into the "
                f"address: ?lot=A17 (got {', '.join(sorted(others))[:100]})",
            )  # fmt: skip
        files = form.getlist(field)
        if not files or not all(isinstance(one, UploadFile) for one in files):
            raise RefusedError(
                422, "no_file", f"the form needs '{field}', a file: {field}=@part.jpeg"
            )
        if len(files) > limit:
            raise RefusedError(413, "too_many", f"at most {count_of(limit, 'file')} in a request")
        if max(one.size or 0 for one in files) > MAX_IMAGE_BYTES:
            raise RefusedError(413, "too_large", f"a file exceeds {MAX_IMAGE_BYTES >> 20} MB")
        return [(one.filename or "", await one.read()) for one in files]


async def only_known_parameters(request: Request) -> None:
    """Raise RefusedError for a parameter that the route has not, or has once: a filter misspelt is
    no filter, and of two serial numbers neither is the part's.
    """
    known = {one.alias: one for one in request.scope["route"].dependant.query_params}
    for name in request.query_params:
        if name not in known:
            raise RefusedError(422, "invalid", f"query.{name[:100]}: there is no such parameter")
        given = len(request.query_params.getlist(name))
        if given > 1 and not takes_several(known[name].field_info.annotation):
            raise RefusedError(422, "invalid", f"query.{name}: given {given} times, give it once")


def takes_several(annotation: object) -> bool:
    """Whether a parameter's type is a list."""
    return any(get_origin(one) is list for one in get_args(annotation))


def utc(text: str | None) -> str | None:
    """A time as the beginning of the log's times, which begin like it.

    Raises:
        RefusedError: there is no such time.
    """
    if text is None:
        return None
    begins = text.removesuffix("Z")
    try:
        datetime.fromisoformat(begins)
    except ValueError:
        raise RefusedError(422, "invalid", f"there is no time {text}") from None
    return begins
