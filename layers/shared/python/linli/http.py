"""The HTTP face of a context: pydantic in, pydantic out, refusals as problem+json (RFC 9457) in one place.

A route's function says by its annotations what it takes: a pydantic model is the JSON body, `Annotated[Model, Query()]`
the query, `IdempotencyKey` the header, `Actor` the caller in the post they act in, `Caller` whoever they may be; what else
it takes comes from the path.
"""

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_type_hints

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.openapi.params import Header, Query
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic.fields import FieldInfo
from pynamodb.exceptions import PynamoDBException

from linli import errors
from linli.access import Actor, Caller
from linli.limits import Limit
from linli.table import passes

BODY_LIMIT = 256 * 1024
"""Bytes of a request body."""

_KEY = re.compile(r"^[0-9A-Za-z_-]{8,64}$")
IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        pattern=_KEY.pattern,
        description="8 to 64 of [0-9A-Za-z_-], new for every new command, kept for 30 days",
    ),
]
_ACTING = Annotated[
    str | None, Header(alias="Linli-Post", description="the post you act in, needed if you hold several")
]
_PATH_VALUE = re.compile(r"[^/]{1,64}")
_STATUS: tuple[tuple[type[errors.LinliError], int], ...] = (
    (errors.TooLarge, 413),
    (errors.KeyReused, 422),
    (errors.Invalid, 422),
    (errors.Unauthenticated, 401),
    (errors.Denied, 403),
    (errors.Absent, 404),
    (errors.Conflict, 409),
    (errors.TooMany, 429),
    (errors.Unavailable, 503),
)
_PYDANTIC_ZH = {
    "missing": "缺少此必填字段",
    "extra_forbidden": "不接受此字段",
    "json_invalid": "不是有效的 JSON",
    "string_type": "应为文本",
    "string_too_short": "文本过短",
    "string_too_long": "文本过长",
    "string_pattern_mismatch": "格式不正确",
    "literal_error": "不在允许的取值之内",
    "enum": "不在允许的取值之内",
    "int_parsing": "应为整数",
    "int_type": "应为整数",
    "model_type": "应为 JSON 对象",
    "model_attributes_type": "应为 JSON 对象",
}


PlaceId = Annotated[str, StringConstraints(pattern=r"^[0-9]{17}(-[0-9]{1,3}-[0-9]{3,5})?$")]
"""A building's id, or a room's."""


class Model(BaseModel):
    """What crosses the API; a field nobody asked for is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldProblem(BaseModel):
    field: str
    code: str
    message: str


class Problem(BaseModel):
    """application/problem+json. `code` is stable; `title` and messages follow Accept-Language, Chinese unless asked."""

    type: str
    title: str
    status: int
    code: str
    request_id: str
    field: str | None = None
    errors: list[FieldProblem] | None = None


class Api:
    """One context's resolver; `handler` is what the function's Handler points at."""

    def __init__(self, context: str, log: Logger) -> None:
        self.app = APIGatewayHttpResolver()
        self.public: set[str] = set()
        self._context = context
        self._log = log
        self.app.exception_handler(errors.LinliError)(self._refusal)
        self.app.exception_handler(_NotValid)(self._not_valid)
        self.app.exception_handler([PynamoDBException, BotoCoreError, ClientError])(self._dependency_failed)
        self.app.not_found(lambda _: self._refusal(errors.Absent()))

    def handler(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        answer = self.app.resolve(event, context)
        http = event["requestContext"]["http"]
        self._log.info(
            "answered",
            route=event["routeKey"],
            method=http["method"],
            status=answer["statusCode"],
            request_id=event["requestContext"]["requestId"],
        )
        return answer

    def route(
        self, method: str, path: str, *, status: int = 200, public: bool = False, limit: Limit | None = None
    ) -> Callable[..., Any]:
        """Register a function; its docstring's first line is the operation's summary."""

        def register(function: Callable[..., BaseModel]) -> Callable[..., BaseModel]:
            hints = get_type_hints(function, include_extras=True)
            answer = hints.pop("return")
            shown = [one for name, hint in hints.items() for one in _documented_parameters(name, hint)]

            def call(**path_values: str) -> Response[str]:
                if not public:
                    caller = self.caller  # a route that asks for nobody in particular still asks for somebody
                    if limit:
                        limit.count(caller.subject)
                taken = {name: self._take(name, hint, path_values) for name, hint in hints.items()}
                result = function(**taken)
                return Response(status, "application/json", result.model_dump_json(exclude_none=True))

            call.__name__ = function.__name__
            call.__doc__ = function.__doc__
            call.__signature__ = inspect.Signature(shown, return_annotation=answer)  # type: ignore[attr-defined]
            self.app.route(
                path,
                method,
                summary=inspect.getdoc(function).split("\n")[0],  # type: ignore[union-attr]
                tags=[self._context],
                operation_id=function.__name__,
                responses=_documented(answer, status, method, public=public, limit=limit),
            )(call)
            if public:
                self.public.add(path)
            return function

        return register

    @property
    def request_id(self) -> str:
        return self.app.current_event.request_context.request_id

    @property
    def caller(self) -> Caller:
        """Unauthenticated unless the authorizer named a principal."""
        said = self.app.current_event.request_context.authorizer.get_lambda or {}
        if not said.get("principal"):
            raise errors.Unauthenticated()
        return Caller.from_context(said["principal"])

    @property
    def actor(self) -> Actor:
        """The caller in their post."""
        return self.caller.acting(self.app.current_event.headers.get("linli-post"))

    def _take(self, name: str, hint: Any, path_values: dict[str, str]) -> Any:
        try:
            return self._read(name, hint, path_values)
        except ValidationError as error:
            raise _NotValid(error) from error
        except UnicodeDecodeError as error:
            raise errors.Invalid("body") from error

    def _read(self, name: str, hint: Any, path_values: dict[str, str]) -> Any:
        event = self.app.current_event
        if hint is Actor:
            return self.actor
        if hint is Caller:
            return self.caller
        if hint == IdempotencyKey:
            key = event.headers.get("idempotency-key", "")
            if not _KEY.fullmatch(key):
                raise errors.KeyMalformed("Idempotency-Key")
            return key
        if any(isinstance(extra, Query) for extra in get_args(hint)[1:]):
            return get_args(hint)[0].model_validate(event.query_string_parameters or {})
        if isinstance(hint, type) and issubclass(hint, BaseModel):
            body = event.decoded_body or ""
            if len(body.encode("utf-8", "surrogatepass")) > BODY_LIMIT:
                raise errors.TooLarge("body", limit=BODY_LIMIT)
            return hint.model_validate_json(body)
        if not _PATH_VALUE.fullmatch(path_values[name]):
            raise errors.Absent()
        return path_values[name]

    def _refusal(self, error: errors.LinliError) -> Response[str]:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'} if status == 401 else {}
        if status in (429, 503):
            headers["Retry-After"] = str(error.details.get("seconds", 2))
        return self._problem(status, error.code, error.text(self._language()), headers, field=error.field)

    def _dependency_failed(self, error: Exception) -> Response[str]:
        if not passes(error):
            raise error
        return self._refusal(errors.Unavailable())

    def _not_valid(self, refused: "_NotValid") -> Response[str]:
        zh = self._language() == "zh"
        found = [
            FieldProblem(
                field=".".join(map(str, one["loc"])) or "body",
                code=one["type"],
                message=_PYDANTIC_ZH.get(one["type"], "字段的值不符合要求") if zh else one["msg"],
            )
            for one in refused.error.errors(include_url=False, include_input=False, include_context=False)
        ]
        title = "提交的内容不符合要求" if zh else "the request is not valid"
        return self._problem(422, "invalid-request", title, {}, field=found[0].field, errors=found)

    def _problem(self, status: int, code: str, title: str, headers: dict[str, str], **more: Any) -> Response[str]:
        problem = Problem(
            type=f"urn:linli:problem:{code}",
            title=title,
            status=status,
            code=code,
            request_id=self.request_id,
            **more,
        )
        body = problem.model_dump_json(exclude_none=True)
        headers["Content-Language"] = "zh-CN" if self._language() == "zh" else "en"
        return Response(status, "application/problem+json", body, headers=headers)

    def _language(self) -> str:
        first = self.app.current_event.headers.get("accept-language", "zh").split(",")[0].strip().lower()
        return "en" if first.startswith("en") else "zh"


def _documented_parameters(name: str, hint: Any) -> list[inspect.Parameter]:
    """What the document shows of a parameter: of the caller nothing, of a query model each field."""
    kind = inspect.Parameter.KEYWORD_ONLY
    if hint is Actor:
        return [inspect.Parameter("linli_post", kind, default=None, annotation=_ACTING)]
    if hint is Caller:
        return []
    if not any(isinstance(extra, Query) for extra in get_args(hint)[1:]):
        return [inspect.Parameter(name, kind, annotation=hint)]
    fields: dict[str, FieldInfo] = get_args(hint)[0].model_fields
    return [
        inspect.Parameter(
            field,
            kind,
            default=inspect.Parameter.empty if info.is_required() else info.default,
            annotation=Annotated[
                info.annotation, *info.metadata, Query(alias=info.alias, description=info.description)
            ],
        )
        for field, info in fields.items()
    ]


class _NotValid(Exception):
    """What the caller sent does not fit its model; a model that fails elsewhere is a defect of ours."""

    def __init__(self, error: ValidationError) -> None:
        self.error = error


def _documented(
    answer: type[BaseModel], status: int, method: str, *, public: bool, limit: Limit | None
) -> dict[int, Any]:
    problem = {"content": {"application/problem+json": {"model": Problem}}}
    refused = {404: "absent, or out of the caller's scope", 422: "a field cannot be used", 503: "busy, try again"}
    if not public:
        refused |= {401: "the token is missing, expired or not accepted", 403: "the caller's post may not do this"}
    if method != "GET":
        refused[413] = f"more than {BODY_LIMIT} bytes"
        refused[409] = "the object's state does not allow it"
    if limit:
        refused[429] = f"more than {limit.calls} calls of one caller in a minute; see Retry-After"
    documented = {code: {"description": text, **problem} for code, text in sorted(refused.items())}
    return {status: {"description": "done", "content": {"application/json": {"model": answer}}}, **documented}
