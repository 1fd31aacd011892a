"""What OpenAI's API says, and how it understands what is asked. vLLM, TGI and llama.cpp differ."""

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import ClassVar

from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.faults import Fault
from gateway.simulator.generation import Generation, Step
from gateway.simulator.job import Body, Job, Told, asked_tokens, dumps
from gateway.simulator.refused import Refused, token_ids, wrong_field
from gateway.simulator.server import Request
from gateway.simulator.tokens import decode, encode


class Wording:
    """An engine that keeps to OpenAI's documentation: its words, without sending them."""

    role_in_every_delta: ClassVar[bool] = False

    def __init__(self, engine: SimulatedEngine) -> None:
        self.engine = engine
        self.options = engine.options

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


def _said(content: object) -> str:
    """The text of a message's content, its parts joined."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
