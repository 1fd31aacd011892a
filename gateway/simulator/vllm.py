"""vLLM on the wire, as started with `--enable-prompt-tokens-details`.

Source: vLLM 0.32 as it was recorded; metric names of the same.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from typing_extensions import override

from gateway.simulator.adapters import LOAD, UNLOAD, Adapters
from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.faults import Fault
from gateway.simulator.generation import Generation, Step
from gateway.simulator.job import Body, Job, Told, asked_tokens
from gateway.simulator.kv_cache import BLOCK_TOKENS
from gateway.simulator.openai import OpenAiFace
from gateway.simulator.refused import Refused, token_ids
from gateway.simulator.server import Request, Wire
from gateway.simulator.tokens import encode
from gateway.simulator.vllm_sleep import PATHS, sleep_or_wake

_MAX_STOPS: Final = 4
_VOCABULARY: Final = 2**40  # ids are up to four bytes long, behind their length
_POSTS: Final = ("/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize")
_KINDS: Final = {
    400: "BadRequestError",
    404: "NotFoundError",
    429: "TooManyRequestsError",
    503: "Service Unavailable",
}
_DETAIL: Final = "detail"  # said by its web framework, before all else
_INVALID: Final = "Bad Request"  # what its parser says no to, before vLLM itself looks


class VllmFace(OpenAiFace):
    """vLLM's OpenAI server."""

    @override
    def __init__(self, engine: SimulatedEngine) -> None:
        super().__init__(engine)
        self.adapters = Adapters(engine.options)
        engine.adapters = self.adapters.by_name

    @override
    def get(self, request: Request, wire: Wire) -> None:
        match request.path:
            case "/metrics":
                self.text(wire, 200, self.metrics(), "text/plain; version=1.0.0; charset=utf-8")
            case "/version":
                self.json(wire, 200, {"version": self.options.version})
            case "/load":
                self.json(wire, 200, {"server_load": len(self.engine.scheduler.running)})
            case "/is_sleeping" if self.options.has_sleep_mode:
                self.json(wire, 200, {"is_sleeping": self.engine.is_asleep})
            case path if path in _POSTS:
                self.json(wire, 405, {"detail": "Method Not Allowed"})
            case _:
                super().get(request, wire)

    @override
    def unknown_path(self) -> Body:
        return {"detail": "Not Found"}

    @override
    def models(self) -> Body:
        models = super().models()
        for model in models["data"]:
            model |= {
                "owned_by": "vllm",
                "root": self.options.models[0],
                "parent": None,
                "max_model_len": self.options.context_tokens,
            }
        models["data"] += self.adapters.listed(self.engine.unix_s())
        return models

    @override
    async def post(self, request: Request, body: Body, wire: Wire, fault: Fault | None) -> None:
        if self.options.loads_adapters and request.path == LOAD:
            self.text(wire, 200, await self.adapters.load(body), "text/plain")
        elif self.options.loads_adapters and request.path == UNLOAD:
            self.text(wire, 200, self.adapters.unload(body), "text/plain")
        elif self.options.has_sleep_mode and request.path in PATHS:
            answer = await sleep_or_wake(self.engine, request.path, request.query)
            self.json(wire, 200, dict(answer))
        else:
            await super().post(request, body, wire, fault)

    @override
    def error(self, refused: Refused) -> Body:
        if refused.status == 401:
            return {"error": "Unauthorized"}
        if refused.kind == _DETAIL:
            return {"detail": refused.message}
        return {
            "error": {
                "message": refused.message,
                "type": refused.kind or _KINDS.get(refused.status, "InternalServerError"),
                "param": refused.param,
                "code": refused.status,
            }
        }

    @override
    def body_of(self, request: Request) -> Body:
        if request.path in PATHS:
            return {}
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise _invalid("Unsupported Media Type: Only 'application/json' is allowed", None)
        if not request.body:
            raise _invalid("Field required", "body")
        return super().body_of(request)

    @override
    def too_deep(self) -> Refused:
        return Refused(400, "There was an error parsing the body", kind=_DETAIL)

    @override
    def not_json(self, problem: str, at: int) -> Refused:
        return _invalid(f"JSON decode error: {problem}", f"body.{at}")

    @override
    def not_an_object(self, body: object) -> Refused:
        return _invalid("Input should be a valid dictionary or object", "body")

    @override
    def missing(self, name: str) -> Refused:
        return _invalid("Field required", f"body.{name}")

    @override
    def wrong_type(self, name: str, wanted: str, given: str) -> Refused:
        return _invalid(f"Input should be a valid {wanted}, not {given}", f"body.{name}")

    @override
    def model_of(self, body: Body) -> str:
        name = body.get("model")
        if isinstance(name, str) and name in self.adapters.by_name:
            return name
        try:
            return super().model_of(body)
        except Refused as refused:
            aliases = ", ".join(self.options.models)
            refused.message += f" Valid aliases: {aliases}."
            raise

    @override
    def new_id(self, request: Request, *, is_chat: bool) -> str:
        given = request.headers.get("x-request-id")
        if given is None:
            return super().new_id(request, is_chat=is_chat)
        return ("chatcmpl-" if is_chat else "cmpl-") + given

    @override
    def check(self, body: Body) -> None:
        super().check(body)
        if body.get("tools") == []:
            raise Refused(400, "`tools` must not be an empty array.", param="tools")
        asked = asked_tokens(body)
        if asked is not None and asked < 1:
            raise Refused(400, f"max_tokens must be at least 1, got {asked}.", param="max_tokens")
        stop = body.get("stop")
        if isinstance(stop, list) and len(stop) > _MAX_STOPS:
            raise _invalid(f"List should have at most {_MAX_STOPS} items", "body.stop")
        if stop == "" or (isinstance(stop, list) and "" in stop):
            raise Refused(400, "stop cannot contain an empty string.")
        n = body.get("n")
        if n is not None and n < 1:
            raise Refused(400, f"n must be at least 1, got {n}.")
        if (n or 1) > 1 and body.get("temperature") == 0:
            raise Refused(400, f"n must be 1 when using greedy sampling, got {n}.")

    @override
    def late_check(self, body: Body) -> None:
        bias = body.get("logit_bias")
        if isinstance(bias, dict) and not all(_is_known(token) for token in bias):
            raise Refused(
                400, "token_id(s) in logit_bias contain out-of-vocab token ids.", param="logit_bias"
            )

    @override
    def answer_tokens(self, body: Body, prompt: int) -> int:
        asked, limit = asked_tokens(body), self.options.context_tokens
        if asked is not None and asked > limit:
            newer = "max_completion_tokens"
            field = "max_tokens" if body.get(newer) is None else newer
            raise Refused(
                400,
                f"{field}={asked} cannot be greater than max_model_len={limit}. "
                "Please request fewer output tokens.",
                param=field,
            )
        if prompt >= limit:
            raise self.too_long(prompt, 0)
        return min(limit - prompt, asked or self.options.answer_tokens)  # what does not fit is cut

    @override
    def too_long(self, prompt: int, asked: int) -> Refused:
        limit = self.options.context_tokens
        return Refused(
            400,
            f"This model's maximum context length is {limit} tokens. However, your prompt "
            f"contains at least {prompt} input tokens, which exceeds this limit even without "
            "any output tokens. Please reduce the length of the input prompt.",
            param="input_tokens",
        )

    @override
    def continues(self, messages: Sequence[Body], body: Body) -> bool:
        if not body.get("continue_final_message"):
            return False
        if body.get("add_generation_prompt", True):
            raise Refused(
                400,
                "Cannot set both `continue_final_message` and `add_generation_prompt` to True.",
            )
        return True

    @override
    def prompts_of(self, body: Body, *, is_chat: bool) -> tuple[tuple[int, ...], ...]:
        given = (body.get("kv_transfer_params") or {}).get("prompt_token_ids")
        if is_chat and given:
            ids = token_ids(given)
            if ids is None:
                raise Refused(
                    400,
                    "`kv_transfer_params['prompt_token_ids']` must be a non-empty list of "
                    "non-negative integers.",
                    param="kv_transfer_params.prompt_token_ids",
                )
            return (ids,)
        if not is_chat and not body.get("prompt"):
            message = "Either prompt or prompt_embeds must be provided and non-empty."
            raise Refused(400, message, param=None if body.get("prompt") == [] else "prompt")
        return super().prompts_of(body, is_chat=is_chat)

    @override
    def overloaded(self) -> Refused:
        return Refused(
            503,
            "The engine is currently busy and cannot accept new requests. "
            "Please try again later or on a different instance.",
        )

    @override
    def draining(self) -> Refused:
        return Refused(500, "cannot schedule new futures after shutdown")

    @override
    def first_chunk(self, job: Job, index: int) -> str | None:
        if not job.is_chat:
            return None
        delta = {"role": "assistant", "content": ""}
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
        more: Body = {"prompt_token_ids": self._prompt_ids(job, index), "prompt_text": None}
        return self.chunk(job, [choice], **self._usage_so_far(job, index, 0), **more)

    @override
    def chunks(self, job: Job, index: int, step: Step, generation: Generation) -> list[str]:
        more = self._usage_so_far(job, index, step.number)
        if step.finish is not None and not job.include_usage:
            more["system_fingerprint"] = self._fingerprint
        return [self.chunk(job, [self.chunk_choice(job, index, step)], **more)]

    @override
    def chunk_choice(self, job: Job, index: int, step: Step) -> Body:
        choice = super().chunk_choice(job, index, step)
        if step.finish is not None or not job.is_chat:
            choice["stop_reason"] = step.stop
        if not job.is_chat:
            ids = self._prompt_ids(job, index) if step.number == 1 else None
            choice["prompt_token_ids"] = ids
        wants_ids = job.body.get("return_token_ids") and step.finish != "abort"
        choice["token_ids"] = [step.token] if wants_ids else None
        return choice

    @override
    def last_chunk(self, job: Job, told: Mapping[str, object]) -> str | None:
        if not job.include_usage or not told:
            return None
        return self.chunk(job, [], **told, system_fingerprint=self._fingerprint)

    @override
    def whole(self, job: Job, choices: Sequence[Told], told: Mapping[str, object]) -> Body:
        answer = super().whole(job, choices, told)
        answer |= {"service_tier": None, "system_fingerprint": self._fingerprint}
        answer |= {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}
        if answer.get("usage"):
            answer["usage"] |= {"completion_tokens_details": None}
        if job.is_chat:
            answer |= {"prompt_logprobs": None, "prompt_text": None}
            answer["prompt_token_ids"] = self._prompt_ids(job, 0)
        return answer

    @override
    def whole_choice(self, job: Job, index: int, choice: Told) -> Body:
        told = super().whole_choice(job, index, choice)
        ids = choice.tokens if job.body.get("return_token_ids") else None
        told |= {"stop_reason": choice.last.stop, "token_ids": ids, "routed_experts": None}
        if job.is_chat:
            unsaid = ("refusal", "annotations", "audio", "function_call", "reasoning")
            told["message"] |= dict.fromkeys(unsaid)
        else:
            told |= {"prompt_logprobs": None, "prompt_token_ids": self._prompt_ids(job, index)}
        return told

    @override
    def usage(self, job: Job, generations: Sequence[Generation]) -> Body:
        cached = max(generation.work.cached_tokens for generation in generations)
        details = {"cached_tokens": cached, "created_cache_tokens": 0, "multimodal_tokens": None}
        return super().usage(job, generations) | {"prompt_tokens_details": details}

    @override
    def tokenized(self, body: Body) -> Body:
        messages = body.get("messages")
        self.check_types(body)
        text = body.get("prompt") if messages is None else self.rendered(messages, body)
        if not isinstance(text, str):
            raise self.missing("prompt")
        tokens = encode(text)
        return {
            "count": len(tokens),
            "max_model_len": self.options.context_tokens,
            "tokens": tokens,
            "token_strs": None,
        }

    def metrics(self) -> str:
        """The Prometheus text, true to what the scheduler does."""
        engine, scheduler = self.engine, self.engine.scheduler
        labels = f'{{engine="0",model_name="{self.options.models[0]}"}}'
        blocks = scheduler.cache.capacity
        config = (
            f'{{block_size="{BLOCK_TOKENS}",engine="0",kv_cache_size_tokens='
            f'"{blocks * BLOCK_TOKENS}",num_gpu_blocks="{blocks}"}}'
        )
        samples = [
            ("num_requests_running", labels, len(scheduler.running), "gauge"),
            ("num_requests_waiting", labels, len(scheduler.waiting), "gauge"),
            ("kv_cache_usage_perc", labels, scheduler.cache.used_ratio, "gauge"),
            ("cache_config_info", config, 1, "gauge"),
            ("num_preemptions_total", labels, scheduler.preemptions, "counter"),
            ("prefix_cache_queries_total", labels, scheduler.cache_queries, "counter"),
            ("prefix_cache_hits_total", labels, scheduler.cache_hits, "counter"),
            ("prompt_tokens_total", labels, engine.counts.prompt_tokens, "counter"),
            ("generation_tokens_total", labels, engine.counts.generated_tokens, "counter"),
        ]
        lines: list[str] = []
        for name, given, value, kind in samples:
            lines += [
                f"# HELP vllm:{name} As vLLM counts it.",
                f"# TYPE vllm:{name} {kind}",
                f"vllm:{name}{given} {float(value)}",
            ]
        for state in ("awake", "weights_offloaded", "discard_all"):
            is_now = state == ("discard_all" if engine.is_asleep else "awake")
            given = labels.replace("}", f',sleep_state="{state}"}}')
            lines.append(f"vllm:engine_sleep_state{given} {float(is_now)}")
        for reason in ("stop", "length", "abort", "error", "repetition"):
            given = (
                f'{{engine="0",finished_reason="{reason}",model_name="{self.options.models[0]}"}}'
            )
            count = engine.counts.finished.get(reason, 0)
            lines.append(f"vllm:request_success_total{given} {float(count)}")
        return "\n".join([*lines, ""])

    @property
    def _fingerprint(self) -> str:
        return f"vllm-{self.options.version}-simulated"

    def _prompt_ids(self, job: Job, index: int) -> list[int] | None:
        return list(job.prompts[index // job.n]) if job.body.get("return_token_ids") else None

    def _usage_so_far(self, job: Job, index: int, number: int) -> Body:
        options = job.body.get("stream_options") or {}
        if not options.get("continuous_usage_stats"):
            return {}
        prompt = len(job.prompts[index // job.n])
        counts = {"prompt_tokens": prompt, "total_tokens": prompt + number}
        return {"usage": counts | {"completion_tokens": number}}


def _invalid(message: str, param: str | None) -> Refused:
    return Refused(400, f"1 validation error:\n  {message}", kind=_INVALID, param=param)


def _is_known(token: object) -> bool:
    return str(token).isdecimal() and int(str(token)) <= _VOCABULARY
