"""Every failure the gateway can name, with what the client is told and who may try again.

Four facts hang on each class: OpenAI's `status`, `type` and `code`; `source`, whose fault it
was (a label of metrics and spans); and `retry`, whether another replica may be asked. `public`
is the text a client may read: lower case, what happened, to what, what to do; never an
address, a header or a stack. The cause travels by `raise … from`.
"""

from enum import StrEnum
from typing import ClassVar


class Source(StrEnum):
    """Whose fault a failure was."""

    CLIENT = "client"
    ENGINE = "engine"
    GATEWAY = "gateway"


class Retry(StrEnum):
    """Where the same call may be tried again."""

    NEVER = "never"
    ELSEWHERE = "elsewhere"


class GatewayError(Exception):
    """A failure with a name. `code` None means the body's `code` is null."""

    status: int = 500
    type: str = "server_error"
    code: str | None = None
    source: ClassVar[Source] = Source.GATEWAY
    retry: Retry = Retry.NEVER
    # what the SDKs are told about trying again; None: what they do by themselves is right
    should_retry: ClassVar[bool | None] = None
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(
        self,
        public: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """`retry_after_s`: how long the client (or we) should wait; None is unknown."""
        super().__init__(public)
        self.public = public
        self.param = param
        self.retry_after_s = retry_after_s
        if code is not None:
            self.code = code


class _ClientFault(GatewayError):
    status = 400
    type = "invalid_request_error"
    source = Source.CLIENT


class InvalidRequest(_ClientFault):
    """The call itself is wrong; `param` names the field."""


class RequestTooLarge(_ClientFault):
    """The body is over the limit."""

    status = 413
    code = "request_too_large"


class HeadTooLarge(_ClientFault):
    """The URL and the headers together are over the limit."""

    status = 431
    code = "headers_too_large"


class RequestTooSlow(_ClientFault):
    """The headers or the body did not arrive in time."""

    status = 408
    code = "request_timeout"


class UnsupportedContentType(_ClientFault):
    """The body is not declared as JSON, or it is compressed."""

    status = 415
    code = "unsupported_content_type"


class PathNotFound(_ClientFault):
    """There is nothing at this path."""

    status = 404
    code = "unknown_url"


class MethodNotAllowed(_ClientFault):
    """The path exists, for another method."""

    status = 405
    code = "method_not_allowed"


class Unauthenticated(_ClientFault):
    """No key, or one nobody issued."""

    status = 401
    code = "invalid_api_key"


class ModelNotAllowed(_ClientFault):
    """The caller's plan does not include this model."""

    status = 403
    code = "model_not_allowed"


class PlanNotFound(_ClientFault):
    """The plan of this key is not in the configuration any more."""

    status = 403
    code = "plan_not_found"


class ModelNotFound(_ClientFault):
    """No model of this name is served here."""

    status = 404
    code = "model_not_found"


class RequestNotFound(_ClientFault):
    """No call that is remembered has this id."""

    status = 404
    code = "request_not_found"


class KeyNotFound(_ClientFault):
    """The admin API was asked for a key that does not exist."""

    status = 404
    code = "key_not_found"


class KeyConflict(_ClientFault):
    """A key cannot be made or changed like this: its name is taken, or it is read-only."""

    status = 409
    code = "key_conflict"


class RateLimited(_ClientFault):
    """A limit is reached; `retry_after_s` is the true wait. The message names the limit."""

    status = 429
    type = "requests"
    code = "rate_limit_exceeded"

    def __init__(
        self,
        public: str,
        *,
        type: str = "requests",  # noqa: A002  # OpenAI's name for it
        is_for_key: bool = True,
        retry_after_s: float | None = None,
    ) -> None:
        """`type` is what ran out; `is_for_key`: the caller's own limit, not one of a model."""
        super().__init__(public, retry_after_s=retry_after_s)
        self.type = type
        self.is_for_key = is_for_key


class LimitTooSmall(RateLimited):
    """The request is larger than its limit can ever hold: waiting does not help."""

    should_retry = False


class ClientGone(_ClientFault):
    """The client left. Logged as 499, never sent, never held against a replica."""

    status = 499
    code = "client_gone"


class _EngineFault(GatewayError):
    status = 502
    source = Source.ENGINE
    retry = Retry.ELSEWHERE


class EngineUnreachable(_EngineFault):
    """No connection could be made: nothing was sent, so any replica may be tried."""

    code = "engine_unreachable"


class ConnectionLost(_EngineFault):
    """The connection broke after the request was sent and before the answer was whole."""

    code = "engine_unreachable"


class EngineSilent(_EngineFault):
    """No first event in time. The work may still be running there."""

    status = 504
    code = "engine_timeout"


class EngineOverloaded(_EngineFault):
    """The engine refused for now; `retry_after_s` if it said for how long."""

    status = 503
    code = "server_overloaded"


class EngineDraining(_EngineFault):
    """The engine is shutting down and takes no new work."""

    status = 503
    code = "server_overloaded"


class EngineFault(_EngineFault):
    """The engine failed, or answered with something that is no answer."""

    code = "engine_error"


class EngineMisconfigured(_EngineFault):
    """The engine does not serve the model, or refuses our credentials: the operator's error."""

    status = 503
    code = "engine_misconfigured"


class EngineRefused(GatewayError):
    """The engine says that the request is wrong: its 4xx, passed on."""

    status = 400
    type = "invalid_request_error"
    source = Source.CLIENT

    def __init__(
        self, public: str, *, status: int = 400, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(public, param=param, code=code)
        self.status = status


class StreamBroken(GatewayError):
    """The answer stopped in the middle, after content had reached the client."""

    status = 502
    code = "stream_broken"
    source = Source.ENGINE


class StreamStalled(GatewayError):
    """The engine stopped sending in the middle of an answer."""

    status = 504
    code = "stream_stalled"
    source = Source.ENGINE


class DeadlineExceeded(GatewayError):
    """The whole call took longer than its model's `total_s`, or than the client would wait."""

    status = 504
    code = "deadline_exceeded"
    source = Source.ENGINE


class LimiterDown(GatewayError):
    """The limits cannot be checked, and the operator wants no call unchecked."""

    status = 503
    code = "limits_unavailable"


class KeysUnavailable(GatewayError):
    """Redis, where keys made at run time are kept, does not answer."""

    status = 503
    code = "keys_unavailable"


class TooManyWatchers(GatewayError):
    """As many watch `/admin/live` as may."""

    status = 503
    code = "too_many_watchers"


class AdapterNotLoaded(GatewayError):
    """The replica does not have the adapter that was asked for, and could not load it."""

    status = 503
    code = "adapter_not_loaded"
    retry = Retry.ELSEWHERE


class NoReplica(GatewayError):
    """No replica can take the call now."""

    status = 503
    code = "no_replica_available"


class Overloaded(GatewayError):
    """Every replica is busy, and the call cannot wait, or not long enough."""

    status = 503
    code = "server_overloaded"


class Draining(GatewayError):
    """This gateway is shutting down."""

    status = 503
    code = "gateway_draining"


class InternalError(GatewayError):
    """A bug of ours. The client sees the request id, the log has the rest."""

    code = "internal_error"


class ConfigInvalid(GatewayError):
    """The configuration cannot be used; `problems` holds every reason, each with its path."""

    code = "config_invalid"

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class PlanInvalid(GatewayError):
    """What a memory plan was asked for cannot be: the model, the GPU or the options are wrong."""

    code = "plan_invalid"
