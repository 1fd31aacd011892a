"""OpenAI's API as simulated engines speak it. vLLM, TGI and llama.cpp differ from here."""

import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import anyio

from gateway.simulator.emit import Broken, Emitter
from gateway.simulator.engine import Seen, SimulatedEngine
from gateway.simulator.faults import Fault
from gateway.simulator.generation import Generation, Step
from gateway.simulator.server import Request, Wire
from gateway.simulator.tokens import decode, encode

Body = dict[str, Any]


class Refused(Exception):
    """The engine says no."""

    def __init__(
        self, status: int, message: str, *, kind: str = "BadRequestError", param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param = status, message, kind, param


@dataclass(slots=True)
class Job:
    """One inference request, understood."""

    body: Body
    is_chat: bool
    id: str
    model: str
    prompt: tuple[int, ...]
    max_tokens: int
    stops: tuple[str, ...]
    n: int
    include_usage: bool
    fault: Fault | None
    created: int


class OpenAiFace:
    """An engine that keeps to OpenAI's documentation."""

    role_in_every_delta: ClassVar[bool] = False
    max_stops: ClassVar[int] = 4
    checks_after_200: ClassVar[bool] = False
    unknown_model_status: ClassVar[int] = 404

    def __init__(self, engine: SimulatedEngine) -> None:
        self.engine = engine
        self.options = engine.options

    async def handle(self, request: Request, wire: Wire) -> None:
        """Answer one request."""
        if request.path.startswith("/simulate/"):
            await self.engine.answer_admin(request, wire)
            return
        if request.method == "GET":
            self.get(request, wire)
            return
        seen = Seen(request.path, request.headers, None)
        self.engine.requests.append(seen)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._until_left, wire, seen, tasks.cancel_scope)
            try:
                await self._post(request, wire, seen)
            except Refused as refused:
                seen.outcome = f"refused {refused.status}"
                self.json(wire, refused.status, self.error(refused))
            except Broken:
                seen.outcome = "fault"
            else:
                seen.outcome = "answered" if seen.outcome == "open" else seen.outcome
            tasks.cancel_scope.cancel()

    def get(self, request: Request, wire: Wire) -> None:
        """Everything that is not inference."""
        match request.path:
            case "/v1/models":
                self.json(wire, 200, {"object": "list", "data": self.models()})
            case "/health":
                status = 503 if self.engine.is_loading else 200
                self.text(wire, status, "")
            case _:
                self.json(wire, 404, self.unknown_path())

    def models(self) -> list[Body]:
        created = self.engine.unix_s()
        return [
            {"id": name, "object": "model", "created": created, "owned_by": "simulator"}
            for name in self.options.models
        ]

    def unknown_path(self) -> Body:
        return {"error": {"message": "Not Found", "type": "not_found", "code": None}}

    def error(self, refused: Refused) -> Body:
        """The body of an error."""
        return {
            "error": {
                "message": refused.message,
                "type": refused.kind,
                "param": refused.param,
                "code": None,
            }
        }

    def check_key(self, request: Request) -> None:
        """Raises Refused without the engine's key."""
        key = self.options.api_key
        if key is not None and request.headers.get("authorization") != f"Bearer {key}":
            raise Refused(401, "Unauthorized")

    def model_of(self, body: Body) -> str:
        """The name to show. Raises Refused for a model that is not served."""
        name = body.get("model")
        if name is not None and name not in self.options.models:
            raise Refused(
                self.unknown_model_status,
                f"The model `{name}` does not exist.",
                kind="NotFoundError",
                param="model",
            )
        return self.options.models[0]

    def new_id(self, request: Request, *, is_chat: bool) -> str:
        return ("chatcmpl-" if is_chat else "cmpl-") + secrets.token_hex(8)

    def prompt_of(self, body: Body, *, is_chat: bool) -> tuple[int, ...]:
        """The prompt as the engine's template and tokenizer make it."""
        if not is_chat:
            prompt = body.get("prompt")
            if isinstance(prompt, list) and all(isinstance(t, int) for t in prompt):
                return tuple(prompt)
            if not isinstance(prompt, str):
                raise Refused(400, "prompt: a string is required", param="prompt")
            return encode(prompt)
        messages = body.get("messages")
        if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
            raise Refused(400, "messages: an array is required", param="messages")
        return encode(self.rendered(messages, body))

    def rendered(self, messages: Sequence[Body], body: Body) -> str:
        """The chat template."""
        turns = [f"<|{m.get('role')}|>{_said(m.get('content'))}" for m in messages]
        if self.continues(messages, body):
            return "\n".join(turns)
        return "\n".join([*turns, "<|assistant|>"])

    def continues(self, messages: Sequence[Body], body: Body) -> bool:
        """Whether the last message is an answer to go on with."""
        return False

    def check(self, body: Body) -> None:
        """Raises Refused for parameters out of range."""
        temperature = body.get("temperature")
        if isinstance(temperature, int | float) and not 0 <= temperature <= 2:
            raise Refused(
                400, f"temperature must be in [0, 2], got {temperature}.", param="temperature"
            )
        if body.get("stream_options") is not None and not body.get("stream"):
            raise Refused(
                400,
                "Stream options can only be defined when `stream=True`.",
                param="stream_options",
            )

    def late_check(self, body: Body) -> None:
        """Checks that this engine makes only after it has sent 200."""

    def finish_reason(self, step: Step, job: Job) -> str | None:
        """The engine's word for the end."""
        return step.finish

    def chunk_choice(self, job: Job, index: int, step: Step) -> Body:
        """One choice of a chunk with a token."""
        finish = self.finish_reason(step, job)
        if job.is_chat:
            delta = {"content": step.text}
            if self.role_in_every_delta:
                delta = {"role": "assistant"} | delta
            return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {"index": index, "text": step.text, "logprobs": None, "finish_reason": finish}

    def chunk(self, job: Job, choices: list[Body], **more: object) -> str:
        """A chunk as JSON."""
        kind = "chat.completion.chunk" if job.is_chat else "text_completion"
        return dumps(
            {
                "id": job.id,
                "object": kind,
                "created": job.created,
                "model": job.model,
                "choices": choices,
            }
            | more
        )

    def first_chunk(self, job: Job, index: int) -> str | None:
        """The chunk with the role, sent with the first token."""
        if not job.is_chat or self.role_in_every_delta:
            return None
        delta = {"role": "assistant", "content": ""}
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
        return self.chunk(job, [choice])

    def error_event(self, refused: Refused) -> str:
        """An error inside a stream."""
        return json.dumps(self.error(refused))

    def usage(self, job: Job, generations: Sequence[Generation]) -> Body:
        """Token counts."""
        completion = sum(generation.work.produced for generation in generations)
        return {
            "prompt_tokens": len(job.prompt),
            "total_tokens": len(job.prompt) + completion,
            "completion_tokens": completion,
        }

    def whole(self, job: Job, texts: Sequence[tuple[str, Step]], usage: object) -> Body:
        """A whole answer."""
        choices: list[Body] = []
        for index, (text, last) in enumerate(texts):
            finish = self.finish_reason(last, job)
            said: Body = {"text": text}
            if job.is_chat:
                said = {"message": {"role": "assistant", "content": text}}
            choices.append({"index": index, **said, "logprobs": None, "finish_reason": finish})
        kind = "chat.completion" if job.is_chat else "text_completion"
        return {
            "id": job.id,
            "object": kind,
            "created": job.created,
            "model": job.model,
            "choices": choices,
            "usage": usage,
        }

    def overloaded(self) -> Refused:
        """What is said when the queue is full."""
        return Refused(503, "The engine is overloaded", kind="Service Unavailable")

    def json(self, wire: Wire, status: int, value: object) -> None:
        self.send(wire, status, "application/json", dumps(value).encode())

    def text(self, wire: Wire, status: int, value: str) -> None:
        self.send(wire, status, "text/plain; charset=utf-8", value.encode())

    def send(
        self, wire: Wire, status: int, kind: str, body: bytes, more: Mapping[str, str] | None = None
    ) -> None:
        wire.head(status, {"content-type": kind, **(more or {})}, len(body))
        wire.piece(body)
        wire.end()

    async def _until_left(self, wire: Wire, seen: Seen, scope: anyio.CancelScope) -> None:
        await wire.left.wait()
        seen.outcome = "client_left"
        scope.cancel()

    async def _post(self, request: Request, wire: Wire, seen: Seen) -> None:
        self.check_key(request)
        try:
            fault = self.engine.fault_for(request)
        except ValueError as exc:
            raise Refused(400, str(exc), param="x-simulate-fault") from exc
        seen.body = self._read_body(request)
        if fault is not None:
            await self._fault_before(wire, fault)
        await self.post(request, seen.body, wire, fault)

    async def post(self, request: Request, body: Body, wire: Wire, fault: Fault | None) -> None:
        """Inference."""
        match request.path:
            case "/v1/chat/completions":
                await self._infer(self.job(request, body, fault, is_chat=True), wire)
            case "/v1/completions":
                await self._infer(self.job(request, body, fault, is_chat=False), wire)
            case "/tokenize":
                self.json(wire, 200, {"tokens": encode(str(body.get("prompt", "")))})
            case "/detokenize":
                self.json(wire, 200, {"prompt": decode(body.get("tokens", ()))})
            case _:
                self.json(wire, 404, self.unknown_path())

    def job(self, request: Request, body: Body, fault: Fault | None, *, is_chat: bool) -> Job:
        """Understand a request. Raises Refused."""
        model = self.model_of(body)
        self.check(body)
        prompt = self.prompt_of(body, is_chat=is_chat)
        room = self.options.max_model_len - len(prompt)
        asked = body.get("max_completion_tokens") or body.get("max_tokens")
        if room < 1 or (isinstance(asked, int) and asked > room):
            raise self.too_long(len(prompt), asked, is_chat=is_chat)
        given = body.get("stop") or []
        options = body.get("stream_options") or {}
        return Job(
            body=body,
            is_chat=is_chat,
            id=self.new_id(request, is_chat=is_chat),
            model=model,
            prompt=prompt,
            max_tokens=asked if isinstance(asked, int) else min(room, self.options.answer_tokens),
            stops=(given,) if isinstance(given, str) else tuple(given),
            n=int(body.get("n") or 1),
            include_usage=bool(options.get("include_usage")),
            fault=fault,
            created=self.engine.unix_s(),
        )

    def too_long(self, prompt: int, asked: object, *, is_chat: bool) -> Refused:
        """The prompt and the answer do not fit."""
        limit = self.options.max_model_len
        return Refused(
            400,
            f"This model's maximum context length is {limit} tokens. However, you requested "
            f"{asked or 0} output tokens and your prompt contains {prompt} input tokens.",
            param="input_tokens",
        )

    def _read_body(self, request: Request) -> Body:
        try:
            body = json.loads(request.body)
        except ValueError as exc:
            raise Refused(400, f"Invalid JSON: {exc}", kind="Bad Request") from exc
        if not isinstance(body, dict):
            raise Refused(400, "the body must be an object", kind="Bad Request")
        return body

    async def _infer(self, job: Job, wire: Wire) -> None:
        if self.engine.is_draining:
            raise self.draining()
        generations: list[Generation] = []
        try:
            for choice in range(job.n):
                generation = self.engine.begin(job.prompt, job.max_tokens, job.stops, choice)
                if generation is None:
                    raise self.overloaded()
                generations.append(generation)
            if job.body.get("stream"):
                await self.stream(job, generations, wire)
            else:
                await self._answer_whole(job, generations, wire)
        finally:
            for generation in generations:
                self.engine.finish(generation, None)

    def draining(self) -> Refused:
        return Refused(503, "shutting down", kind="Service Unavailable")

    async def _answer_whole(self, job: Job, generations: list[Generation], wire: Wire) -> None:
        self.late_check(job.body)
        texts: list[tuple[str, Step]] = []
        for generation in generations:
            text = ""
            last = Step(0, "")
            async for step in generation.steps():
                text += step.text
                last = step
            self.engine.finish(generation, last.finish)
            texts.append((text, last))
        emitter = Emitter(wire, job.fault)
        usage = self.usage(job, generations) if emitter.has_usage() else emitter.usage()
        self.send(
            wire,
            200,
            "application/json",
            dumps(self.whole(job, texts, usage)).encode(),
            self.whole_headers(job, generations),
        )

    def whole_headers(self, job: Job, generations: Sequence[Generation]) -> Mapping[str, str]:
        return {}

    async def stream(self, job: Job, generations: list[Generation], wire: Wire) -> None:
        """A streamed answer."""
        wire.head(200, self.stream_headers(), None)
        emitter = Emitter(wire, job.fault)
        last: str | None = None
        broken: Broken | None = None
        try:
            self.late_check(job.body)
            await self._events(job, generations, emitter)
        except Broken as struck:
            broken, last = struck, self._last_words(job)
        except Refused as refused:
            last = self.error_event(refused)
        if last is not None:
            await emitter.event(last)
        elif broken is not None:
            raise broken
        await emitter.done()
        wire.end()

    def stream_headers(self) -> dict[str, str]:
        return {"content-type": "text/event-stream; charset=utf-8"}

    async def _events(self, job: Job, generations: list[Generation], emitter: Emitter) -> None:
        if job.fault is not None and job.fault.name == "error-event-first":
            raise Refused(int(job.fault.options.get("code", "500")), "simulated failure")
        begun: set[int] = set()
        async for index, step in _merged(generations):
            if index not in begun:
                begun.add(index)
                await emitter.begin()
                first = self.first_chunk(job, index)
                if first is not None:
                    await emitter.event(first)
            if step.finish is not None:
                self.engine.finish(generations[index], step.finish)
            chunk = self.chunk(job, [self.chunk_choice(job, index, step)])
            await emitter.event(chunk, content=bool(step.text))
        if job.include_usage:
            usage = self.usage(job, generations) if emitter.has_usage() else emitter.usage()
            await emitter.event(self.chunk(job, [], usage=usage))

    def _last_words(self, job: Job) -> str | None:
        """The event in which a fault ends the stream; None when it ends by force."""
        match job.fault:
            case Fault(name="abort-after"):
                return self.chunk(job, [self.chunk_choice(job, 0, Step(0, "", "abort"))])
            case Fault(name="error-event-after", options=options):
                return self.error_event(
                    Refused(int(options.get("code", "500")), "simulated failure")
                )
            case _:
                return None

    async def _fault_before(self, wire: Wire, fault: Fault) -> None:
        """The faults that come before any answer. Raises Broken."""
        match fault.name:
            case "refuse" | "reset-before-headers":
                wire.reset()
            case "close-before-headers":
                wire.close()
            case "half-status-line":
                wire.raw(b"HTTP/1.1 2")
                wire.close()
            case "bad-header":
                wire.raw(b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n")
                wire.close()
            case "huge-head":
                wire.raw(b"HTTP/1.1 200 OK\r\nx: " + b"x" * fault.number + b"\r\n\r\n")
            case "stall-before-headers":
                await wire.left.wait()
            case "status":
                retry = fault.options.get("retry-after")
                more = {} if retry is None else {"retry-after": retry}
                body = dumps(self.error(Refused(fault.number, "simulated failure"))).encode()
                self.send(wire, fault.number, "application/json", body, more)
            case "html-error":
                self.send(wire, fault.number, "text/html", b"<html><h1>nginx</h1></html>")
            case "close-keepalive":
                wire.keep_alive = False
                return
            case _:
                return
        raise Broken


async def _merged(generations: list[Generation]) -> AsyncIterator[tuple[int, Step]]:
    """The steps of several generations, which get their tokens in the same engine steps."""
    open_steps = {index: generation.steps() for index, generation in enumerate(generations)}
    while open_steps:
        for index, steps in list(open_steps.items()):
            step = await anext(steps)
            if step.finish is not None:
                del open_steps[index]
            yield index, step


def dumps(value: object) -> str:
    """JSON as engines write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _said(content: object) -> str:
    """The text of a message's content, its parts joined."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
