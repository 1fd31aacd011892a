"""OpenAI's API as simulated engines speak it. vLLM, TGI and llama.cpp differ from here."""

import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import anyio

from gateway.simulator.emit import Broken, Emitter
from gateway.simulator.engine import Seen, SimulatedEngine
from gateway.simulator.faults import Fault, told_usage
from gateway.simulator.generation import Generation, Step
from gateway.simulator.refused import Refused, token_ids, wrong_field
from gateway.simulator.server import Request, Wire
from gateway.simulator.tokens import decode, encode

Body = dict[str, Any]


@dataclass(slots=True)
class Job:
    """One inference request, understood. Every prompt gets `n` answers."""

    body: Body
    is_chat: bool
    id: str
    model: str
    prompts: tuple[tuple[int, ...], ...]
    max_tokens: int
    stops: tuple[str, ...]
    n: int
    include_usage: bool
    fault: Fault | None
    created: int


@dataclass(slots=True)
class Told:
    """One choice of a whole answer."""

    text: str
    tokens: list[int]
    last: Step


class OpenAiFace:
    """An engine that keeps to OpenAI's documentation."""

    role_in_every_delta: ClassVar[bool] = False
    says_abort: ClassVar[bool] = True
    json_type: ClassVar[str] = "application/json"
    stream_headers: ClassVar[Mapping[str, str]] = {
        "content-type": "text/event-stream; charset=utf-8"
    }

    def __init__(self, engine: SimulatedEngine) -> None:
        self.engine = engine
        self.options = engine.options

    async def handle(self, request: Request, wire: Wire) -> None:
        """Answer one request."""
        if request.path.startswith("/simulate/"):
            await self.engine.answer_admin(request, wire)
        elif request.method == "GET":
            self._get(request, wire)
        else:
            await self._post(request, wire)

    def get(self, request: Request, wire: Wire) -> None:
        """Everything that is not inference."""
        match request.path:
            case "/v1/models":
                self.json(wire, 200, self.models())
            case "/health":
                self.send(wire, 503 if self.engine.is_loading else 200, None, b"")
            case _:
                self.json(wire, 404, self.unknown_path())

    def models(self) -> Body:
        """The list of models."""
        created = self.engine.unix_s()
        return {
            "object": "list",
            "data": [
                {"id": name, "object": "model", "created": created, "owned_by": "simulator"}
                for name in self.options.models
            ],
        }

    def unknown_path(self) -> Body:
        return self.error(Refused(404, "Not Found"))

    def error(self, refused: Refused) -> Body:
        """The body of an error."""
        usual = "server_error" if refused.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": refused.message,
                "type": refused.kind or usual,
                "param": refused.param,
                "code": None,
            }
        }

    def needs_key(self, request: Request) -> bool:
        """Whether the engine's key guards this request."""
        return request.path.startswith("/v1/")

    def check_key(self, request: Request) -> None:
        """Raises Refused without the engine's key."""
        key = self.options.api_key
        given = request.headers.get("authorization")
        if key is not None and self.needs_key(request) and given != f"Bearer {key}":
            raise Refused(401, "Unauthorized")

    def model_of(self, body: Body) -> str:
        """The name to show. Raises Refused for a model that is not served."""
        name = body.get("model")
        if name is not None and name not in self.options.models:
            raise Refused(404, f"The model `{name}` does not exist.", param="model")
        return self.options.models[0]

    def new_id(self, request: Request, *, is_chat: bool) -> str:
        return ("chatcmpl-" if is_chat else "cmpl-") + secrets.token_hex(8)

    def prompts_of(self, body: Body, *, is_chat: bool) -> tuple[tuple[int, ...], ...]:
        """The prompts as the engine's template and tokenizer make them."""
        if is_chat:
            messages = body.get("messages")
            if messages is None:
                raise self.missing("messages")
            return (encode(self.rendered(messages, body)),)
        given = body.get("prompt")
        if given is None:
            raise self.missing("prompt")
        many = given if isinstance(given, list) and token_ids(given) is None else [given]
        prompts = [encode(one) if isinstance(one, str) else token_ids(one) for one in many]
        whole = tuple(prompt for prompt in prompts if prompt is not None)
        if not whole or len(whole) < len(prompts):
            raise self.wrong_type("prompt", "string", type(given).__name__)
        return whole

    def rendered(self, messages: Sequence[Body], body: Body) -> str:
        """The chat template."""
        turns = [f"<|{m.get('role')}|>{_said(m.get('content'))}" for m in messages]
        if self.continues(messages, body):
            return "\n".join(turns)
        return "\n".join([*turns, "<|assistant|>"])

    def continues(self, messages: Sequence[Body], body: Body) -> bool:
        """Whether the last message is an answer to go on with."""
        return False

    def not_json(self, problem: str, at: int) -> Refused:
        """The body is no JSON, by position `at`."""
        return Refused(400, f"Invalid JSON: {problem}")

    def too_deep(self) -> Refused:
        """The body is nested too deeply to be read."""
        return self.not_json("nested too deeply", 0)

    def not_an_object(self, body: object) -> Refused:
        """The body is JSON, but no object."""
        return Refused(400, "the body must be an object")

    def missing(self, name: str) -> Refused:
        """A field that must be there is not."""
        return Refused(400, f"{name}: field required", param=name)

    def wrong_type(self, name: str, wanted: str, given: str) -> Refused:
        """A field is not what it must be."""
        return Refused(400, f"{name}: must be {wanted}, but is {given}", param=name)

    def check(self, body: Body) -> None:
        """Raises Refused for parameters out of range."""
        temperature = body.get("temperature")
        if temperature is not None and not 0 <= temperature <= 2:
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

    def answer_tokens(self, body: Body, prompt: int) -> int:
        """How long the answer may be. Raises Refused when it cannot fit."""
        room = self.options.context_tokens - prompt
        asked = asked_tokens(body)
        if room < 1 or (asked or 0) > room:
            raise self.too_long(prompt, asked or 0)
        return min(room, self.options.answer_tokens) if asked is None else max(1, asked)

    def too_long(self, prompt: int, asked: int) -> Refused:
        """The prompt and the answer do not fit."""
        limit = self.options.context_tokens
        return Refused(
            400,
            f"This model's maximum context length is {limit} tokens. However, you requested "
            f"{asked} output tokens and your prompt contains {prompt} input tokens.",
            param="messages",
        )

    def finish_reason(self, step: Step, job: Job) -> str | None:
        """The engine's word for the end."""
        return step.finish

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

    def chunks(self, job: Job, index: int, step: Step, generation: Generation) -> list[str]:
        """What is sent for one token; the first of it carries the text."""
        return [self.chunk(job, [self.chunk_choice(job, index, step)])]

    def chunk_choice(self, job: Job, index: int, step: Step) -> Body:
        """One choice of a chunk with a token."""
        finish = self.finish_reason(step, job)
        if job.is_chat:
            delta = {"content": step.text}
            if self.role_in_every_delta:
                delta = {"role": "assistant"} | delta
            return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {"index": index, "text": step.text, "logprobs": None, "finish_reason": finish}

    def last_chunk(self, job: Job, told: Mapping[str, object]) -> str | None:
        """The chunk with the usage, when one was asked for and there is a usage to tell."""
        return self.chunk(job, [], **told) if job.include_usage and told else None

    def error_event(self, refused: Refused) -> str:
        """An error inside a stream."""
        return json.dumps(self.error(refused))

    def usage(self, job: Job, generations: Sequence[Generation]) -> Body:
        """Token counts."""
        prompt = sum(map(len, job.prompts))
        completion = sum(generation.work.produced for generation in generations)
        return {
            "prompt_tokens": prompt,
            "total_tokens": prompt + completion,
            "completion_tokens": completion,
        }

    def whole(self, job: Job, choices: Sequence[Told], told: Mapping[str, object]) -> Body:
        """A whole answer. `told` is the part with the usage."""
        return {
            "id": job.id,
            "object": "chat.completion" if job.is_chat else "text_completion",
            "created": job.created,
            "model": job.model,
            "choices": [self.whole_choice(job, *numbered) for numbered in enumerate(choices)],
            **told,
        }

    def whole_choice(self, job: Job, index: int, choice: Told) -> Body:
        """One choice of a whole answer."""
        said: Body = {"text": choice.text}
        if job.is_chat:
            said = {"message": {"role": "assistant", "content": choice.text}}
        finish = self.finish_reason(choice.last, job)
        return {"index": index, **said, "logprobs": None, "finish_reason": finish}

    def whole_headers(self, job: Job, generations: Sequence[Generation]) -> Mapping[str, str]:
        """Headers of a whole answer."""
        return {}

    def tokenized(self, body: Body) -> Body:
        """The answer to `/tokenize`."""
        return {"tokens": encode(str(body.get("prompt", "")))}

    def detokenized(self, body: Body) -> Body:
        """The answer to `/detokenize`. Raises Refused."""
        tokens = token_ids(body.get("tokens"))
        if tokens is None:
            raise self.wrong_type("tokens", "array", type(body.get("tokens")).__name__)
        return {"prompt": decode(tokens)}

    def overloaded(self) -> Refused:
        """What is said when the queue is full."""
        return Refused(503, "The engine is overloaded")

    def draining(self) -> Refused:
        """What is said while the engine ends."""
        return Refused(503, "shutting down")

    def refuse(self, wire: Wire, refused: Refused) -> None:
        """Say an error."""
        if refused.is_plain:
            self.text(wire, refused.status, refused.message)
        else:
            self.json(wire, refused.status, self.error(refused))

    def json(self, wire: Wire, status: int, value: object) -> None:
        self.send(wire, status, self.json_type, dumps(value).encode(errors="replace"))

    def text(
        self, wire: Wire, status: int, value: str, kind: str = "text/plain; charset=utf-8"
    ) -> None:
        self.send(wire, status, kind, value.encode(errors="replace"))

    def send(
        self,
        wire: Wire,
        status: int,
        kind: str | None,
        body: bytes,
        more: Mapping[str, str] | None = None,
    ) -> None:
        """A whole answer; `kind` None: without a content type."""
        typed = {} if kind is None else {"content-type": kind}
        wire.head(status, {**typed, **(more or {})}, len(body))
        wire.piece(body)
        wire.end()

    async def post(self, request: Request, body: Body, wire: Wire, fault: Fault | None) -> None:
        """Inference."""
        match request.path:
            case "/v1/chat/completions":
                await self._infer(self.job(request, body, fault, is_chat=True), wire)
            case "/v1/completions":
                await self._infer(self.job(request, body, fault, is_chat=False), wire)
            case "/tokenize":
                self.json(wire, 200, self.tokenized(body))
            case "/detokenize":
                self.json(wire, 200, self.detokenized(body))
            case _:
                self.json(wire, 404, self.unknown_path())

    def job(self, request: Request, body: Body, fault: Fault | None, *, is_chat: bool) -> Job:
        """Understand a request. Raises Refused."""
        self.check_types(body)
        model = self.model_of(body)
        self.check(body)
        prompts = self.prompts_of(body, is_chat=is_chat)
        longest = max(map(len, prompts))
        given = body.get("stop")
        given = given if isinstance(given, str | list) and given else []
        options = body.get("stream_options") or {}
        return Job(
            body=body,
            is_chat=is_chat,
            id=self.new_id(request, is_chat=is_chat),
            model=model,
            prompts=prompts,
            max_tokens=self.answer_tokens(body, longest),
            stops=tuple(stop for stop in given if stop) if isinstance(given, list) else (given,),
            n=max(1, body.get("n") or 1),
            include_usage=bool(options.get("include_usage")),
            fault=fault,
            created=self.engine.unix_s(),
        )

    def check_types(self, body: Body) -> None:
        """Raises Refused for a field of a wrong type."""
        wrong = wrong_field(body)
        if wrong is not None:
            raise self.wrong_type(*wrong)

    async def stream(self, job: Job, generations: list[Generation], wire: Wire) -> None:
        """A streamed answer."""
        wire.head(200, dict(self.stream_headers), None)
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

    def _get(self, request: Request, wire: Wire) -> None:
        try:
            self.check_key(request)
        except Refused as refused:
            self.refuse(wire, refused)
        else:
            self.get(request, wire)

    async def _post(self, request: Request, wire: Wire) -> None:
        seen = Seen(request.path, request.headers, None)
        self.engine.requests.append(seen)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_until_left, wire, seen, tasks.cancel_scope)
            try:
                await self._answer(request, wire, seen)
            except Refused as refused:
                seen.end(f"refused {refused.status}")
                self.refuse(wire, refused)
            except Broken:
                seen.end("client_left" if wire.left.is_set() else "fault")
            else:
                seen.end("answered")
            tasks.cancel_scope.cancel()

    async def _answer(self, request: Request, wire: Wire, seen: Seen) -> None:
        self.check_key(request)
        try:
            fault = self.engine.fault_for(request)
        except ValueError as exc:
            raise Refused(400, str(exc), param="x-simulate-fault") from exc
        if fault is not None:
            await self._fault_before(wire, fault)
        seen.body = self.body_of(request)
        await self.post(request, seen.body, wire, fault)

    def body_of(self, request: Request) -> Body:
        """The body of a POST. Raises Refused."""
        try:
            body = json.loads(request.body)
        except json.JSONDecodeError as exc:
            raise self.not_json(exc.msg, exc.pos) from exc
        except UnicodeDecodeError as exc:
            raise self.not_json("not UTF-8", exc.start) from exc
        except RecursionError as exc:
            raise self.too_deep() from exc
        if not isinstance(body, dict):
            raise self.not_an_object(body)
        return body

    async def _infer(self, job: Job, wire: Wire) -> None:
        if self.engine.is_draining:
            raise self.draining()
        generations: list[Generation] = []
        try:
            for prompt in job.prompts:
                for choice in range(job.n):
                    generation = self.engine.begin(prompt, job.max_tokens, job.stops, choice)
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

    async def _answer_whole(self, job: Job, generations: list[Generation], wire: Wire) -> None:
        self.late_check(job.body)
        choices: list[Told] = []
        for generation in generations:
            told = Told("", [], Step(0, ""))
            async for step in self.engine.steps(generation, job.fault):
                self.check_abort(step, wire)
                told.text += step.text
                told.tokens.append(step.token)
                told.last = step
            self.engine.finish(generation, told.last.finish)
            choices.append(told)
        usage = told_usage(job.fault, self.usage(job, generations))
        body = dumps(self.whole(job, choices, usage)).encode(errors="replace")
        self.send(wire, 200, self.json_type, body, self.whole_headers(job, generations))

    async def _events(self, job: Job, generations: list[Generation], emitter: Emitter) -> None:
        if job.fault is not None and job.fault.name == "error-event-first":
            raise _simulated(job.fault)
        begun: set[int] = set()
        streams = [self.engine.steps(generation, job.fault) for generation in generations]
        async for index, step in _merged(streams):
            self.check_abort(step, emitter.wire)
            if index not in begun:
                begun.add(index)
                await emitter.begin()
                first = self.first_chunk(job, index)
                if first is not None:
                    await emitter.event(first)
            if step.finish is not None:
                self.engine.finish(generations[index], step.finish)
            has_text = bool(step.text)
            for chunk in self.chunks(job, index, step, generations[index]):
                await emitter.event(chunk, content=has_text)
                has_text = False
        last = self.last_chunk(job, told_usage(job.fault, self.usage(job, generations)))
        if last is not None:
            await emitter.event(last)

    def check_abort(self, step: Step, wire: Wire) -> None:
        """Raises Broken where the engine dies without a word."""
        if step.finish == "abort" and not self.says_abort:
            wire.close()
            raise Broken

    def _last_words(self, job: Job) -> str | None:
        """The event in which a fault ends the stream; None when it ends by force."""
        match job.fault:
            case Fault(name="abort-after"):
                return self.chunk(job, [self.chunk_choice(job, 0, Step(0, "", "abort"))])
            case Fault(name="error-event-after"):
                return self.error_event(_simulated(job.fault))
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
                wire.close()
            case "stall-before-headers":
                await wire.left.wait()
            case "status":
                retry = fault.options.get("retry-after")
                more = {} if retry is None else {"retry-after": retry}
                body = dumps(self.error(Refused(fault.number, "simulated failure"))).encode()
                self.send(wire, fault.number, self.json_type, body, more)
            case "html-error":
                self.send(wire, fault.number, "text/html", b"<html><h1>nginx</h1></html>")
            case "close-keepalive":
                wire.keep_alive = False
                return
            case _:
                return
        raise Broken


def asked_tokens(body: Body) -> int | None:
    """The length of answer that was asked for; None when nothing was."""
    asked = body.get("max_completion_tokens")
    if asked is None:
        asked = body.get("max_tokens")
    return asked if isinstance(asked, int) else None


def dumps(value: object) -> str:
    """JSON as engines write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


async def _until_left(wire: Wire, seen: Seen, scope: anyio.CancelScope) -> None:
    await wire.left.wait()
    seen.end("client_left")
    scope.cancel()


async def _merged(streams: list[AsyncIterator[Step]]) -> AsyncIterator[tuple[int, Step]]:
    """The steps of several generations, which get their tokens in the same engine steps."""
    open_steps = dict(enumerate(streams))
    while open_steps:
        for index, steps in list(open_steps.items()):
            step = await anext(steps)
            if step.finish is not None:
                del open_steps[index]
            yield index, step


def _simulated(fault: Fault) -> Refused:
    return Refused(int(fault.options.get("code", "500")), "simulated failure")


def _said(content: object) -> str:
    """The text of a message's content, its parts joined."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
