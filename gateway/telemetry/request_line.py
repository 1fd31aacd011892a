"""What is logged of one call. On its own, because compiled modules lose the options of structs."""

import msgspec


class RequestLine(msgspec.Struct, omit_defaults=True, gc=False):
    """What is logged of one call; names as in `fields`. What is None is left out."""

    time: float
    level: str
    event: str
    request_id: str
    operation: str
    stream: bool
    attempts: int
    outcome: str
    status: int
    duration_ms: float
    body_bytes: int
    caller: str | None = None
    model: str | None = None
    variant: str | None = None
    replica: str | None = None
    finish_reason: str | None = None
    ttft_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    error_code: str | None = None
    error_source: str | None = None
    error_cause: str | None = None
    trace_id: str | None = None
    sdk_retry: str | None = None
    retry_refused: str | None = None
    hedge: str | None = None
    resumes: int | None = None
    resume_refused: str | None = None
    queue_ms: float | None = None
    chosen: str | None = None
