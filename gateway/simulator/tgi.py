"""TGI on the wire: its OpenAI endpoints with their habits, and its own API.

Source: TGI 3.3.7's router.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from typing_extensions import override

from gateway.simulator.emit import Broken, Emitter
from gateway.simulator.faults import Fault
from gateway.simulator.generation import Generation, Step
from gateway.simulator.job import Body, Job, Told, asked_tokens, dumps
from gateway.simulator.kv_cache import BLOCK_TOKENS
from gateway.simulator.openai import OpenAiFace
from gateway.simulator.refused import Refused
from gateway.simulator.server import Request, Wire
from gateway.simulator.tokens import encode, token_bytes

_NATIVE: Final = ("/", "/generate", "/generate_stream")
_GUARDED: Final = (*_NATIVE, "/v1/chat/completions", "/v1/completions", "/tokenize")
_KINDS: Final = {429: "overloaded", 424: "generation", 500: "incomplete_generation"}
_MAX_STOPS: Final = 4
_VERSION: Final = "3.3.7"
_FINGERPRINT: Final = f"{_VERSION}-native"


class TgiFace(OpenAiFace):
    """Text Generation Inference."""

    role_in_every_delta: ClassVar[bool] = True
    says_abort: ClassVar[bool] = False
    stream_headers: ClassVar[Mapping[str, str]] = {
        "content-type": "text/event-stream",
        "x-accel-buffering": "no",
    }

    @override
    def get(self, request: Request, wire: Wire) -> None:
        match request.path:
            case "/health" | "/" | "/ping" if self.engine.is_loading:
                self.json(wire, 503, {"error": "unhealthy", "error_type": "healthcheck"})
            case "/health" | "/" | "/ping":
                self.text(wire, 200, "")
            case "/info":
                self.json(wire, 200, self.info())
            case "/metrics":
                self.text(wire, 200, self.metrics())
            case _:
                super().get(request, wire)

    def info(self) -> Body:
        return {
            "model_id": self.options.models[0],
            "model_sha": None,
            "max_concurrent_requests": 128,
            "max_best_of": 2,
            "max_stop_sequences": _MAX_STOPS,
            "max_input_tokens": self.options.context_tokens - 1,
            "max_total_tokens": self.options.context_tokens,
            "version": _VERSION,
            "router": "text-generation-router",
        }

    @override
    def check_key(self, request: Request) -> None:
        key = self.options.api_key
        given = request.headers.get("authorization", "").lower()  # it compares without case
        if key is not None and request.path in _GUARDED and given != f"bearer {key}".lower():
            raise Refused(401, "", is_plain=True)

    @override
    def not_json(self, problem: str, at: int) -> Refused:
        message = f"Failed to parse the request body as JSON: {problem} at {at}"
        return Refused(400, message, is_plain=True)

    @override
    def not_an_object(self, body: object) -> Refused:
        return _undeserialized("invalid type: expected struct")

    @override
    def missing(self, name: str) -> Refused:
        return _undeserialized(f"missing field `{name}`")

    @override
    def wrong_type(self, name: str, wanted: str, given: str) -> Refused:
        return _undeserialized(f"{name}: invalid type: {given}, expected {wanted}")

    @override
    def error(self, refused: Refused) -> Body:
        return {
            "error": refused.message,
            "error_type": _KINDS.get(refused.status, "validation"),
        }

    @override
    def error_event(self, refused: Refused) -> str:
        # whatever the cause, TGI calls it 422 here
        message = refused.message
        if refused.status >= 500:
            message = "Request failed during generation: " + message
        return dumps({"error": {"message": message, "http_status_code": 422}})

    @override
    def overloaded(self) -> Refused:
        return Refused(429, "Model is overloaded")

    @override
    def model_of(self, body: Body) -> str:
        name = body.get("model")
        if name not in (None, "tgi", *self.options.adapters):
            raise _invalid(f"adapter {name} could not be found")
        return self.options.models[0]

    @override
    def new_id(self, request: Request, *, is_chat: bool) -> str:
        return ""

    @override
    def job(self, request: Request, body: Body, fault: Fault | None, *, is_chat: bool) -> Job:
        job = super().job(request, body, fault, is_chat=is_chat)
        job.n = 1  # whatever was asked for
        return job

    @override
    def check(self, body: Body) -> None:
        stop = body.get("stop")
        if isinstance(stop, str):
            raise self.wrong_type("stop", "a sequence", "string")
        if isinstance(body.get("logit_bias"), dict):
            raise self.wrong_type("logit_bias", "a sequence", "map")
        if len(stop or ()) > _MAX_STOPS:
            raise _invalid(f"`stop` supports up to {_MAX_STOPS} stop sequences")
        temperature = body.get("temperature")
        if temperature is not None and temperature < 0:
            raise _invalid("`temperature` must be strictly positive")
        if (body.get("top_logprobs") or 0) > 5:
            raise _invalid("`top_n_tokens` must be >= 0 and <= 5")

    @override
    def answer_tokens(self, body: Body, prompt: int) -> int:
        asked = asked_tokens(body)
        if asked is not None and asked < 1:
            raise _invalid("`max_new_tokens` must be strictly positive")
        return super().answer_tokens(body, prompt)

    @override
    def too_long(self, prompt: int, asked: int) -> Refused:
        limit = self.options.context_tokens
        return _invalid(
            f"`inputs` tokens + `max_new_tokens` must be <= {limit}. "
            f"Given: {prompt} `inputs` tokens and {asked} `max_new_tokens`"
        )

    @override
    def rendered(self, messages: Sequence[Body], body: Body) -> str:
        # an answer that it goes on with loses its last spaces
        text = super().rendered(messages, body)
        return text.rstrip() if self.continues(messages, body) else text

    @override
    def continues(self, messages: Sequence[Body], body: Body) -> bool:
        return bool(messages) and messages[-1].get("role") == "assistant"

    @override
    def finish_reason(self, step: Step, job: Job) -> str | None:
        if step.finish == "stop":
            return "stop_sequence"
        return step.finish if job.is_chat or step.finish else ""

    @override
    def chunk(self, job: Job, choices: list[Body], **more: object) -> str:
        return super().chunk(job, choices, system_fingerprint=_FINGERPRINT, **more)

    @override
    def whole(self, job: Job, choices: Sequence[Told], told: Mapping[str, object]) -> Body:
        return super().whole(job, choices, told) | {"system_fingerprint": _FINGERPRINT}

    @override
    def whole_headers(self, job: Job, generations: Sequence[Generation]) -> Mapping[str, str]:
        return {
            "x-compute-type": "simulated",
            "x-prompt-tokens": str(sum(map(len, job.prompts))),
            "x-generated-tokens": str(sum(one.work.produced for one in generations)),
        }

    @override
    async def post(self, request: Request, body: Body, wire: Wire, fault: Fault | None) -> None:
        if request.path not in _NATIVE:
            await super().post(request, body, wire, fault)
            return
        if self.engine.is_draining:
            raise self.draining()
        job = self._native_job(body, fault)
        generation = self.engine.begin(job.prompts[0], job.max_tokens, job.stops)
        if generation is None:
            raise self.overloaded()
        try:
            is_stream = request.path == "/generate_stream" or (
                request.path == "/" and body.get("stream") is True
            )
            if is_stream:
                await self._native_stream(job, generation, wire)
            else:
                await self._native_whole(job, generation, wire, in_list=request.path == "/")
        finally:
            self.engine.finish(generation, None)

    def _native_job(self, body: Body, fault: Fault | None) -> Job:
        self.check_types(body)
        inputs = body.get("inputs")
        if inputs is None:
            raise self.missing("inputs")
        if not inputs:
            raise _invalid("`inputs` cannot be empty")
        parameters = body.get("parameters") or {}
        self.check_types(parameters)
        self.check(parameters)
        adapter = parameters.get("adapter_id")
        if adapter is not None and adapter not in self.options.adapters:
            raise _invalid(f"adapter_id {adapter} is not preloaded")
        prompt = encode(inputs)
        asked = parameters.get("max_new_tokens", 100)
        return Job(
            body=parameters,
            is_chat=False,
            id="",
            model=self.options.models[0],
            prompts=(prompt,),
            max_tokens=self.answer_tokens({"max_tokens": asked}, len(prompt)),
            stops=tuple(stop for stop in parameters.get("stop") or () if stop),
            n=1,
            include_usage=False,
            fault=fault,
            created=self.engine.unix_s(),
        )

    async def _native_whole(
        self, job: Job, generation: Generation, wire: Wire, *, in_list: bool
    ) -> None:
        text, tokens, last = "", [], Step(0, "")
        async for step in self.engine.steps(generation, job.fault):
            self.check_abort(step, wire)
            text, last = text + step.text, step
            tokens.append(_token(step))
        self.engine.finish(generation, last.finish)
        answer: Body = {"generated_text": text}
        if job.body.get("details"):
            answer["details"] = self._details(job, last) | {"prefill": [], "tokens": tokens}
        body = dumps([answer] if in_list else answer).encode()
        self.send(wire, 200, self.json_type, body, self.whole_headers(job, [generation]))

    async def _native_stream(self, job: Job, generation: Generation, wire: Wire) -> None:
        wire.head(200, dict(self.stream_headers), None)
        emitter = Emitter(wire, job.fault)
        failed: str | None = None
        try:
            await self._native_events(job, generation, emitter)
        except Broken:
            if job.fault is None or job.fault.name != "error-event-after":
                wire.close()  # where the fault has not done so: TGI has no word for an abort
                raise
            refused = Refused(424, "Request failed during generation: simulated failure")
            failed = dumps(self.error(refused))
        if failed is not None:
            await emitter.event(failed)
        wire.end()  # without [DONE]

    async def _native_events(self, job: Job, generation: Generation, emitter: Emitter) -> None:
        text = ""
        async for step in self.engine.steps(generation, job.fault):
            self.check_abort(step, emitter.wire)
            text += step.text
            is_last = step.finish is not None
            if is_last:
                self.engine.finish(generation, step.finish)
            event = {
                "index": step.number,
                "token": _token(step),
                "generated_text": text if is_last else None,
                "details": self._details(job, step) if is_last else None,
            }
            await emitter.event(dumps(event), content=True)

    def _details(self, job: Job, last: Step) -> Body:
        return {
            "finish_reason": "stop_sequence" if last.finish == "stop" else last.finish,
            "generated_tokens": last.number,
            "seed": None,
            "input_length": len(job.prompts[0]),
        }

    def metrics(self) -> str:
        """The Prometheus text."""
        scheduler = self.engine.scheduler
        samples = {
            "tgi_queue_size": len(scheduler.waiting),
            "tgi_batch_current_size": len(scheduler.running),
            "tgi_batch_current_max_tokens": scheduler.cache.used * BLOCK_TOKENS,
            "tgi_batch_max_total_tokens": scheduler.cache.capacity * BLOCK_TOKENS,
        }
        return "".join(f"{name} {value}\n" for name, value in samples.items())


def _token(step: Step) -> Body:
    text = token_bytes(step.token).decode(errors="replace")
    return {"id": step.token, "text": text, "logprob": -0.5, "special": False}


def _invalid(message: str) -> Refused:
    return Refused(422, f"Input validation error: {message}")


def _undeserialized(message: str) -> Refused:
    text = f"Failed to deserialize the JSON body into the target type: {message}"
    return Refused(422, text, is_plain=True)
