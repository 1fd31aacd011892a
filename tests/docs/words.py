"""What the generated pages say beyond the code: advice for each failure, words for each field."""

from gateway import errors
from gateway.errors import GatewayError
from gateway.fleet.health import Condition, Reason

_TRY_LATER = "Try again after `retry-after`. If it lasts, look at the engine's own log."

# what whoever meets it can do
ADVICE: dict[type[GatewayError], str] = {
    errors.InvalidRequest: "Correct the field that `param` names.",
    errors.RequestTooLarge: "Send less, or raise `server.max_body_bytes`.",
    errors.HeadTooLarge: "Send fewer or shorter headers: 64 KiB are enough for any client.",
    errors.RequestTooSlow: "Send the request faster, or raise `server.body_read_s`.",
    errors.UnsupportedContentType: "Send `content-type: application/json`, not compressed.",
    errors.PathNotFound: "Check the base URL: OpenAI's paths begin with `/v1`.",
    errors.MethodNotAllowed: "Use the method that the `allow` header names.",
    errors.Unauthenticated: "Send `Authorization: Bearer KEY` with a key of this gateway.",
    errors.TooFewBits: "Ask for fewer in `x-gateway-min-bits`; the message says what is there.",
    errors.ModelNotAllowed: "Ask for a model of `GET /v1/models`, or have it added to your plan.",
    errors.ModelNotFound: "Use a name of `GET /v1/models`; the message says what is near.",
    errors.LimitTooSmall: "Ask for less (`max_tokens`, a shorter prompt), or have it raised.",
    errors.RateLimited: "Wait for `retry-after`, or have the plan's limits raised.",
    errors.ClientGone: "Nothing: the client hung up. Many of them suggest its timeout is short.",
    errors.EngineUnreachable: "Is the engine running, and its `url` right? "
    "Other replicas were tried first.",
    errors.ConnectionLost: "Did the engine crash or restart? Look at its log at this time.",
    errors.EngineSilent: "Is the engine overloaded? Else raise `timeouts.first_byte_s`.",
    errors.EngineOverloaded: "Try again after `retry-after`. If it lasts, add replicas.",
    errors.EngineDraining: _TRY_LATER,
    errors.EngineFault: "Look at the engine's own log at this time.",
    errors.EngineMisconfigured: "Check `served_model` and `api_key` of the variant.",
    errors.EngineRefused: "Correct the request as the message says: it is the engine's own.",
    errors.StreamBroken: "Ask again; look at the engine's log for a crash at this time.",
    errors.StreamStalled: "Ask again; if it happens often, look at the engine, "
    "or raise `timeouts.idle_s`.",
    errors.DeadlineExceeded: "Ask for fewer tokens, or raise `timeouts.total_s` "
    "(or the `x-request-timeout-ms` that was sent).",
    errors.LimiterDown: "Is Redis up? Else choose another `limits.on_store_failure`.",
    errors.AdapterNotLoaded: "Is the adapter's `path` right, and may the engine load it? See "
    "[adapters](adapters.md).",
    errors.NoReplica: "`GET /ready` and `gateway_replica_usable` show which replicas are out.",
    errors.Overloaded: "Wait for `retry-after`. If it lasts, add replicas: see "
    "[overload](overload.md).",
    errors.ModelWaking: "Wait for `retry-after`. If it lasts, see why its engines do not start: "
    "[scale to zero](scale-to-zero.md).",
    errors.TooManyWatchers: "Close a dashboard or a `gateway top` that nobody looks at.",
    errors.Draining: "Try again: another gateway process will answer.",
    errors.PlanNotFound: "Put the plan back into the file, or make a new key with another.",
    errors.RequestNotFound: "Ask sooner, or raise `telemetry.recent_requests`.",
    errors.KeyNotFound: "`gateway keys list` shows which keys there are.",
    errors.KeyConflict: "Do as the message says: choose another name, or change the file.",
    errors.KeysUnavailable: "Is Redis up? Known keys go on working meanwhile.",
    errors.InternalError: "Report it with the id in the message; the log has the stack.",
    errors.ConfigInvalid: "Never sent to clients: `gateway check` lists every problem.",
    errors.PlanInvalid: "Never sent to clients: `gateway plan` says what is possible.",
}

# log events: when it is written
EVENTS: dict[str, str] = {
    "request": "A call has ended, however it ended. One line for each call.",
    "draining": "Shutdown has begun: no new calls, those that run go on.",
    "config_reloaded": "A changed configuration file serves now.",
    "config_refused": "A changed configuration file is wrong: the old one goes on serving.",
    "replica_state": "A replica's condition has changed; `reason` says why.",
    "discovery_state": "Replicas can(not) be looked up; `reason` says why not. See "
    "[discovery](discovery.md).",
    "no_keys_configured": "The file has no `keys`: whoever reaches the gateway may call.",
    "limit_store_state": "Redis is away, and `on_store_failure` holds; or it is back (`ok`).",
    "settlements_lost": "Shut down while Redis was away: so many settlements are not in it.",
    "trace_export_state": "The collector does not take traces (`away`), or does again (`ok`).",
    "worker_ended": "A worker process died and is replaced.",
    "workers_given_up": "Every worker died right after each start: the gateway ends.",
    "workers_not_replaced": "A replacement did not come to serve: the workers there are stay.",
    "workers_replaced": "All workers were replaced, as SIGUSR2 asks.",
    "metrics_full": "More series than workers can share: new ones show one worker's.",
    "key_store_state": "Changes of keys cannot be followed in Redis (`away`), or can again (`ok`).",
    "key_set_aside": "A key made at run time cannot be used as it is; `reason` says why.",
    "keys_restored": "Redis had lost its memory, and was told the keys made at run time again.",
    "audit": "A key was created, rotated, disabled, enabled or deleted.",
    "sleep_mode_failed": "A vLLM did not go to sleep, or did not wake, as it was told.",
    "bug": "A failure of the gateway itself, with its stack.",
}

# log fields: what it holds
FIELDS: dict[str, str] = {
    "request_id": "The call's `x-request-id`: the client's own, or ours.",
    "operation": "`chat`, `text_completion`, `embeddings` or `generate_content`.",
    "caller": "The name of the key that called; `anonymous` without keys.",
    "model": "The model that answered, or was tried last; the one asked for where none was tried.",
    "variant": "Its variant: `model:tag`.",
    "replica": "Its replica, by name.",
    "attempts": "Replicas tried.",
    "outcome": "`ok`, `client_error`, `engine_error`, `gateway_error` or `client_gone`.",
    "status": "The HTTP status; of a failed stream, what it would have been.",
    "error_code": "The failure's code: see [errors](errors.md).",
    "error_source": "Whose fault: `client`, `engine` or `gateway`.",
    "error_cause": "The message the client got.",
    "retry_refused": "Why no other replica was asked: `attempts`, `deadline` or `budget`.",
    "chosen": "Why this variant, where it was not simply the first: see [variants](variants.md).",
    "hedge": "There was a second try beside the first, and it `won`, `lost`, or both `failed`.",
    "finish_reason": "Why the engine stopped, in its words.",
    "stream": "Whether the answer was a stream.",
    "sdk_retry": "How often the client's SDK had tried before.",
    "queue_ms": "Milliseconds that the call waited for a replica: see [overload](overload.md).",
    "ttft_ms": "Milliseconds from the call's arrival to the first content, streams only.",
    "duration_ms": "Milliseconds from the call's arrival to its end.",
    "prompt_tokens": "Tokens read, as the engine counted.",
    "completion_tokens": "Tokens written, as the engine counted; "
    "events with content where it did not.",
    "cached_tokens": "Part of the tokens read that came from the engine's cache.",
    "body_bytes": "Size of the request body.",
    "trace_id": "The trace that was sent, or the one of the client's `traceparent`.",
    "resumes": "How often a broken stream was taken up by another replica.",
    "resume_refused": "Why a broken stream was not resumed (again): see [resume](resume.md).",
    "reason": "Why; of a bug, the id that the client saw; of a replica, see [health](health.md).",
    "state": "The condition of a replica: see [health](health.md).",
    "problems": "Everything that is wrong with the file.",
    "models": "How many models serve.",
    "action": "What was done to a key.",
    "key": "The name of that key.",
    "in_flight": "Calls that still run.",
    "grace_s": "Seconds that they have.",
    "worker": "The number of a worker process, from 0.",
    "count": "How many.",
}

# conditions of a replica: what each means, and whether requests are sent there
CONDITIONS: dict[Condition, tuple[str, str]] = {
    Condition.UNKNOWN: ("Not probed yet.", "yes"),
    Condition.READY: ("Probes pass.", "yes"),
    Condition.LOADING: (
        "The engine says that it loads its model (llama.cpp), or it was discovered and has not "
        "passed a probe yet.",
        "no",
    ),
    Condition.ASLEEP: ("vLLM says that it sleeps: no fault, it may be woken.", "no"),
    Condition.AWAY: (
        "Nobody listens there, which is no fault of a variant that [may wake](scale-to-zero.md).",
        "no",
    ),
    Condition.MISCONFIGURED: (
        "It does not serve the model, or refuses the key: correct `served_model` or `api_key`.",
        "no",
    ),
    Condition.UNHEALTHY: (
        "Two probes in a row have failed, or Kubernetes says that it is not ready.",
        "no",
    ),
    Condition.DRAINING: (
        "The engine has said that it shuts down, or discovery that it ends.",
        "no",
    ),
    Condition.EJECTED: ("Probes pass, but requests fail.", "no, except in a panic"),
    Condition.TRIAL: (
        "The ejection is over, and our own request was answered.",
        "one at a time until one succeeds",
    ),
}

# why a condition has changed
REASONS: dict[Reason, str] = {
    Reason.PROBE_PASSED: "A probe has passed.",
    Reason.PROBE_FAILED: "Two probes in a row have failed.",
    Reason.LOADING: "The engine says that it loads.",
    Reason.ASLEEP: "The engine says that it sleeps.",
    Reason.AWAY: "No connection could be made, and the variant may wake.",
    Reason.MODEL_MISSING: "The engine's list of models leaves out `served_model`.",
    Reason.CREDENTIALS_REFUSED: "The engine has answered a probe with 401 or 403.",
    Reason.FAILURES: "`consecutive_failures` tries in a row have failed.",
    Reason.TIMEOUTS: "`consecutive_timeouts` tries, none answered in between, have timed out.",
    Reason.SUCCESS_RATE: "Tries succeed much less often than on its siblings.",
    Reason.DRAINING: "A try was refused because the engine shuts down.",
    Reason.REFUSED: "Two tries in a row were answered with 401, 403 or 404.",
    Reason.TIME_UP: "The ejection is over, and our own request was not answered by a failure.",
    Reason.RESTARTED: "The engine was away and is back: it is tried before its time.",
    Reason.TRIAL_PASSED: "A trial has succeeded.",
    Reason.TRIAL_FAILED: "A trial, ours or a client's, has failed: out again, for longer.",
    Reason.NOT_READY: "Discovery says that it is not ready.",
    Reason.TERMINATING: "Discovery says that it ends; what runs there goes on.",
    Reason.GONE: "Discovery does not find it any more; what runs there goes on.",
    Reason.RETURNED: "Discovery says that it is ready (again).",
}
