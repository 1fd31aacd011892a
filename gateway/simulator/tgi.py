"""TGI on the wire: its OpenAI endpoints with their habits, and its own API.

Source: TGI 3.3.7's router.
"""

from collections.abc import Sequence
from typing import ClassVar

from typing_extensions import override

from gateway.simulator.emit import Emitter
from gateway.simulator.faults import Fault
from gateway.simulator.generation import Generation, Step
from gateway.simulator.openai import Body, Job, OpenAiFace, Refused, dumps
from gateway.simulator.server import Request, Wire
from gateway.simulator.tokens import encode, token_bytes

_NATIVE = ("/", "/generate", "/generate_stream")


class TgiFace(OpenAiFace):
    """Text Generation Inference."""

    role_in_every_delta: ClassVar[bool] = True

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
            "max_stop_sequences": 4,
            "max_input_tokens": self.options.max_model_len - 1,
            "max_total_tokens": self.options.max_model_len,
            "version": "3.3.7",
            "router": "text-generation-router",
        }

    @override
    def check_key(self, request: Request) -> None:
        given = request.headers.get("authorization", "").lower()
        key = self.options.api_key
        if key is not None and given != f"bearer {key}".lower():
            raise Refused(401, "Unauthorized")

    @override
    def error(self, refused: Refused) -> Body:
        kind = {429: "overloaded", 424: "generation", 500: "incomplete_generation"}
        return {
            "error": refused.message,
            "error_type": kind.get(refused.status, "validation"),
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
        if name not in (None, "tgi"):
            raise Refused(422, f"adapter {name} could not be found")
        return self.options.models[0]

    @override
    def new_id(self, request: Request, *, is_chat: bool) -> str:
        return ""

    @override
    def check(self, body: Body) -> None:
        if isinstance(body.get("stop"), str):
            raise Refused(422, "stop: invalid type: string, expected a sequence")
        if isinstance(body.get("logit_bias"), dict):
            raise Refused(422, "logit_bias: invalid type: map, expected a sequence")
        if (body.get("top_logprobs") or 0) > 5:
            raise Refused(422, "top_logprobs must be <= 5")

    @override
    def too_long(self, prompt: int, asked: object, *, is_chat: bool) -> Refused:
        limit = self.options.max_model_len
        return Refused(
            422,
            f"Input validation error: `inputs` tokens + `max_new_tokens` must be <= {limit}. "
            f"Given: {prompt} `inputs` tokens and {asked or 0} `max_new_tokens`",
        )

    @override
    def continues(self, messages: Sequence[Body], body: Body) -> bool:
        return bool(messages) and messages[-1].get("role") == "assistant"

    @override
    def finish_reason(self, step: Step, job: Job) -> str | None:
        if step.finish == "stop":
            return "stop_sequence"
        return step.finish if job.is_chat or step.finish else ""

    @override
    async def post(self, request: Request, body: Body, wire: Wire, fault: Fault | None) -> None:
        if request.path not in _NATIVE:
            await super().post(request, body, wire, fault)
            return
        job = self._native_job(request, body, fault)
        generation = self.engine.begin(job.prompt, job.max_tokens, job.stops)
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

    def _native_job(self, request: Request, body: Body, fault: Fault | None) -> Job:
        inputs = body.get("inputs")
        if not isinstance(inputs, str) or not inputs:
            raise Refused(422, "Input validation error: `inputs` cannot be empty")
        parameters = body.get("parameters") or {}
        prompt = encode(inputs)
        asked = parameters.get("max_new_tokens") or 100
        if len(prompt) + asked > self.options.max_model_len:
            raise self.too_long(len(prompt), asked, is_chat=False)
        return Job(
            body=parameters,
            is_chat=False,
            id="",
            model=self.options.models[0],
            prompt=prompt,
            max_tokens=asked,
            stops=tuple(parameters.get("stop") or ()),
            n=1,
            include_usage=False,
            fault=fault,
            created=self.engine.unix_s(),
        )

    async def _native_whole(
        self, job: Job, generation: Generation, wire: Wire, *, in_list: bool
    ) -> None:
        text, tokens, last = "", [], Step(0, "")
        async for step in generation.steps():
            text, last = text + step.text, step
            tokens.append(_token(step))
        self.engine.finish(generation, last.finish)
        answer: Body = {"generated_text": text}
        if job.body.get("details"):
            answer["details"] = self._details(job, generation, last) | {
                "prefill": [],
                "tokens": tokens,
            }
        headers = {
            "x-prompt-tokens": str(len(job.prompt)),
            "x-generated-tokens": str(generation.work.produced),
        }
        body = dumps([answer] if in_list else answer).encode()
        self.send(wire, 200, "application/json", body, headers)

    async def _native_stream(self, job: Job, generation: Generation, wire: Wire) -> None:
        wire.head(200, self.stream_headers(), None)
        emitter = Emitter(wire, job.fault)
        text, index = "", 0
        async for step in generation.steps():
            text, index = text + step.text, index + 1
            is_last = step.finish is not None
            if is_last:
                self.engine.finish(generation, step.finish)
            event = {
                "index": index,
                "token": _token(step),
                "generated_text": text if is_last else None,
                "details": self._details(job, generation, step) if is_last else None,
            }
            await emitter.event(dumps(event), content=True)
        wire.end()

    def _details(self, job: Job, generation: Generation, last: Step) -> Body:
        return {
            "finish_reason": "stop_sequence" if last.finish == "stop" else last.finish,
            "generated_tokens": generation.work.produced,
            "seed": None,
            "input_length": len(job.prompt),
        }

    def metrics(self) -> str:
        """The Prometheus text."""
        scheduler = self.engine.scheduler
        samples = {
            "tgi_queue_size": len(scheduler.waiting),
            "tgi_batch_current_size": len(scheduler.running),
            "tgi_batch_current_max_tokens": scheduler.cache.used * 16,
            "tgi_batch_max_total_tokens": scheduler.cache.capacity * 16,
        }
        return "".join(f"{name} {value}\n" for name, value in samples.items())


def _token(step: Step) -> Body:
    text = token_bytes(step.token).decode(errors="replace")
    return {"id": step.token, "text": text, "logprob": -0.5, "special": False}
