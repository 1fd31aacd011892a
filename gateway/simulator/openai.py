"""An engine that speaks OpenAI's API: how requests are answered. vLLM, TGI and llama.cpp differ."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import anyio

from gateway.simulator.emit import Broken, Emitter
from gateway.simulator.engine import Seen
from gateway.simulator.faults import Fault, told_usage
from gateway.simulator.generation import Generation, Step
from gateway.simulator.job import Body, Job, Told, dumps
from gateway.simulator.refused import Refused
from gateway.simulator.server import Request, Wire
from gateway.simulator.wording import Wording


class OpenAiFace(Wording):
    """Answers requests in these words."""

    says_abort: ClassVar[bool] = True
    json_type: ClassVar[str] = "application/json"
    stream_headers: ClassVar[Mapping[str, str]] = {
        "content-type": "text/event-stream; charset=utf-8"
    }

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

    def needs_key(self, request: Request) -> bool:
        """Whether the engine's key guards this request."""
        return request.path.startswith("/v1/")

    def check_key(self, request: Request) -> None:
        """Raises Refused without the engine's key."""
        key = self.options.api_key
        given = request.headers.get("authorization")
        if key is not None and self.needs_key(request) and given != f"Bearer {key}":
            raise Refused(401, "Unauthorized")

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
