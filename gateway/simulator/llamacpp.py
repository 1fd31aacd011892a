"""llama-server on the wire.

Source: llama.cpp's server as it was recorded.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from typing_extensions import override

from gateway.simulator.faults import Fault, told_usage
from gateway.simulator.generation import Generation, Step
from gateway.simulator.job import Body, Job, Told, asked_tokens
from gateway.simulator.openai import OpenAiFace
from gateway.simulator.refused import Refused
from gateway.simulator.server import Request, Wire
from gateway.simulator.tokens import encode

_KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    501: "not_supported_error",
    503: "unavailable_error",
}
_OPEN: Final = ("/health", "/v1/health", "/models", "/v1/models")
_BUILD: Final = "b0-simulated"


class LlamaCppFace(OpenAiFace):
    """llama.cpp's server: any model name will do, requests beyond the slots wait."""

    says_abort: ClassVar[bool] = False
    json_type: ClassVar[str] = "application/json; charset=utf-8"
    stream_headers: ClassVar[Mapping[str, str]] = {
        "x-accel-buffering": "no",
        "content-type": "text/event-stream",
    }

    @override
    def get(self, request: Request, wire: Wire) -> None:
        busy, slots = len(self.engine.scheduler.running), self.options.max_num_seqs
        match request.path:
            case "/health" | "/v1/health" if self.engine.is_loading:
                self.json(wire, 503, self.error(Refused(503, "Loading model")))
            case "/health" | "/v1/health":
                self.json(wire, 200, {"status": "ok"})
            case "/metrics":
                self.text(wire, 200, self.metrics(), "text/plain; version=0.0.4")
            case "/props":
                settings = {"n_ctx": self.options.context_tokens}
                props = {"default_generation_settings": settings, "total_slots": slots}
                self.json(wire, 200, props | {"model_alias": self.options.models[0]})
            case "/slots" if "fail_on_no_slot=1" in request.query and busy >= slots:
                self.json(wire, 503, self.error(Refused(503, "no slot available")))
            case "/slots":
                context = self.options.context_tokens
                self.json(
                    wire,
                    200,
                    [{"id": n, "n_ctx": context, "is_processing": n < busy} for n in range(slots)],
                )
            case _:
                super().get(request, wire)

    @override
    def models(self) -> Body:
        models = super().models()
        for model in models["data"]:
            model |= {"owned_by": "llamacpp", "meta": {"n_ctx": self.options.context_tokens}}
        return models

    @override
    def needs_key(self, request: Request) -> bool:
        return request.path not in _OPEN

    @override
    async def post(self, request: Request, body: Body, wire: Wire, fault: Fault | None) -> None:
        if request.path == "/v1/embeddings":
            raise Refused(501, "This server does not support embeddings.")
        await super().post(request, body, wire, fault)

    @override
    def model_of(self, body: Body) -> str:
        return self.options.models[0]

    @override
    def new_id(self, request: Request, *, is_chat: bool) -> str:
        return "chatcmpl-" + secrets.token_hex(16)

    @override
    def error(self, refused: Refused) -> Body:
        told = {
            "code": refused.status,
            "message": refused.message,
            "type": refused.kind or _KINDS.get(refused.status, "server_error"),
        }
        return {"error": told}

    @override
    def unknown_path(self) -> Body:
        return self.error(Refused(404, "File Not Found"))

    @override
    def not_json(self, problem: str, at: int) -> Refused:
        # it blames itself
        return Refused(500, f"[json.exception.parse_error.101] parse error at {at + 1}: {problem}")

    @override
    def not_an_object(self, body: object) -> Refused:
        return self.missing("messages")

    @override
    def missing(self, name: str) -> Refused:
        return Refused(400, f"'{name}' is required")

    @override
    def wrong_type(self, name: str, wanted: str, given: str) -> Refused:
        if name == "messages":
            return Refused(400, f"Expected 'messages' to be an {wanted}")
        return Refused(400, f"Field '{name}': type must be {wanted}, but is {given}")

    @override
    def check_types(self, body: Body) -> None:
        given = body.get("stop")
        if not isinstance(given, str | list | None):
            body = {name: value for name, value in body.items() if name != "stop"}
        super().check_types(body)

    @override
    def check(self, body: Body) -> None:
        """Whatever the values, it takes them."""

    @override
    def continues(self, messages: Sequence[Body], body: Body) -> bool:
        return bool(messages) and messages[-1].get("role") == "assistant"

    @override
    def answer_tokens(self, body: Body, prompt: int) -> int:
        room = self.options.context_tokens - prompt
        if room < 1:
            raise self.too_long(prompt, 0)
        asked = asked_tokens(body)
        if asked is None or asked < 0:
            return min(room, self.options.answer_tokens)
        return min(room, max(1, asked))

    @override
    def too_long(self, prompt: int, asked: int) -> Refused:
        limit = self.options.context_tokens
        return Refused(
            400,
            f"request ({prompt} tokens) exceeds the available context size ({limit} tokens), "
            "try increasing it",
            kind="exceed_context_size_error",
        )

    @override
    def chunk(self, job: Job, choices: list[Body], **more: object) -> str:
        return super().chunk(job, choices, system_fingerprint=_BUILD, **more)

    @override
    def first_chunk(self, job: Job, index: int) -> str | None:
        if not job.is_chat:
            return None
        delta = {"role": "assistant", "content": None}
        return self.chunk(job, [{"finish_reason": None, "index": index, "delta": delta}])

    @override
    def chunks(self, job: Job, index: int, step: Step, generation: Generation) -> list[str]:
        told: list[str] = []
        if step.text:
            text = Step(step.token, step.text)
            told.append(self.chunk(job, [self.chunk_choice(job, index, text)]))
        if step.finish is not None:
            usage: Mapping[str, object] = {}
            if job.include_usage and not job.is_chat:
                usage = told_usage(job.fault, self.usage(job, [generation]))
            last = self.chunk_choice(job, index, Step(0, "", step.finish))
            told.append(self.chunk(job, [last], **usage))
        return told

    @override
    def last_chunk(self, job: Job, told: Mapping[str, object]) -> str | None:
        return super().last_chunk(job, told) if job.is_chat else None

    @override
    def chunk_choice(self, job: Job, index: int, step: Step) -> Body:
        finish = self.finish_reason(step, job)
        if job.is_chat:
            delta = {"content": step.text} if step.text else {}
            return {"finish_reason": finish, "index": index, "delta": delta}
        return {"text": step.text, "index": index, "logprobs": None, "finish_reason": finish}

    @override
    def whole(self, job: Job, choices: Sequence[Told], told: Mapping[str, object]) -> Body:
        answer = super().whole(job, choices, told)
        return answer | {"system_fingerprint": _BUILD}

    @override
    def whole_choice(self, job: Job, index: int, choice: Told) -> Body:
        told = super().whole_choice(job, index, choice)
        if job.is_chat:
            del told["logprobs"]
        return told

    @override
    def usage(self, job: Job, generations: Sequence[Generation]) -> Body:
        cached = sum(generation.work.cached_tokens for generation in generations)
        details = {"cached_tokens": cached}
        return super().usage(job, generations) | {"prompt_tokens_details": details}

    @override
    def tokenized(self, body: Body) -> Body:
        return {"tokens": encode(str(body.get("content", "")))}

    @override
    def detokenized(self, body: Body) -> Body:
        return {"content": super().detokenized(body)["prompt"]}

    def metrics(self) -> str:
        """The Prometheus text."""
        scheduler, counts = self.engine.scheduler, self.engine.counts
        samples = {
            "requests_processing": (len(scheduler.running), "gauge"),
            "requests_deferred": (len(scheduler.waiting), "gauge"),
            "prompt_tokens_total": (counts.prompt_tokens, "counter"),
            "tokens_predicted_total": (counts.generated_tokens, "counter"),
        }
        return "".join(
            f"# HELP llamacpp:{name} As llama.cpp counts it.\n"
            f"# TYPE llamacpp:{name} {kind}\nllamacpp:{name} {value}\n"
            for name, (value, kind) in samples.items()
        )
