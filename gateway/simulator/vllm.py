"""vLLM on the wire.

Source: vLLM 0.32 as it was recorded; metric names of the same.
"""

from collections.abc import Sequence
from typing import ClassVar

from typing_extensions import override

from gateway.simulator.generation import Generation, Step
from gateway.simulator.kv_cache import BLOCK_TOKENS
from gateway.simulator.openai import Body, Job, OpenAiFace, Refused
from gateway.simulator.server import Request, Wire


class VllmFace(OpenAiFace):
    """vLLM's OpenAI server."""

    checks_after_200: ClassVar[bool] = True

    @override
    def get(self, request: Request, wire: Wire) -> None:
        match request.path:
            case "/metrics":
                self.text(wire, 200, self.metrics())
            case "/version":
                self.json(wire, 200, {"version": self.options.version})
            case "/load":
                self.json(wire, 200, {"server_load": len(self.engine.scheduler.running)})
            case _:
                super().get(request, wire)

    @override
    def unknown_path(self) -> Body:
        return {"detail": "Not Found"}

    @override
    def models(self) -> list[Body]:
        return [
            model | {"owned_by": "vllm", "max_model_len": self.options.max_model_len}
            for model in super().models()
        ]

    @override
    def error(self, refused: Refused) -> Body:
        if refused.status == 401:
            return {"error": "Unauthorized"}
        return {
            "error": {
                "message": refused.message,
                "type": refused.kind,
                "param": refused.param,
                "code": refused.status,
            }
        }

    @override
    def model_of(self, body: Body) -> str:
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
            raise Refused(400, "tools must not be an empty array.", param="tools")
        for name in ("max_tokens", "max_completion_tokens"):
            if isinstance(body.get(name), int) and body[name] < 1:
                raise Refused(400, f"{name} must be at least 1, got {body[name]}.", param=name)
        stop = body.get("stop")
        if isinstance(stop, list) and len(stop) > self.max_stops:
            raise Refused(400, f"You can specify at most {self.max_stops} stop strings.")
        if (body.get("n") or 1) > 1 and body.get("temperature") == 0:
            raise Refused(400, "n must be 1 when using greedy sampling.", param="n")

    @override
    def late_check(self, body: Body) -> None:
        bias = body.get("logit_bias")
        if isinstance(bias, dict) and any(int(token) < 0 or int(token) > 2**40 for token in bias):
            raise Refused(400, "token_id in logit_bias contains out-of-vocab token id")

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
    def prompt_of(self, body: Body, *, is_chat: bool) -> tuple[int, ...]:
        given = body.get("kv_transfer_params")
        if is_chat and isinstance(given, dict) and given.get("prompt_token_ids"):
            return tuple(given["prompt_token_ids"])
        return super().prompt_of(body, is_chat=is_chat)

    @override
    def draining(self) -> Refused:
        return Refused(
            500,
            "cannot schedule new futures after shutdown",
            kind="Internal Server Error",
        )

    @override
    def chunk_choice(self, job: Job, index: int, step: Step) -> Body:
        choice = super().chunk_choice(job, index, step)
        if step.finish is not None:
            choice["stop_reason"] = step.stop
        wants_ids = job.body.get("return_token_ids") and step.finish != "abort"
        choice["token_ids"] = [step.token] if wants_ids else None
        return choice

    @override
    def first_chunk(self, job: Job, index: int) -> str | None:
        if not job.is_chat:
            return None
        delta = {"role": "assistant", "content": ""}
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
        ids = list(job.prompt) if job.body.get("return_token_ids") else None
        return self.chunk(job, [choice], prompt_token_ids=ids, prompt_text=None)

    @override
    def whole(self, job: Job, texts: Sequence[tuple[str, Step]], usage: object) -> Body:
        answer = super().whole(job, texts, usage)
        for choice, (_, last) in zip(answer["choices"], texts, strict=True):
            choice["stop_reason"] = last.stop
        return answer | {"system_fingerprint": f"vllm-{self.options.version}-simulated"}

    @override
    def usage(self, job: Job, generations: Sequence[Generation]) -> Body:
        cached = max(generation.work.cached_tokens for generation in generations)
        return super().usage(job, generations) | {
            "prompt_tokens_details": {"cached_tokens": cached}
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
        for reason in ("stop", "length", "abort", "error"):
            given = labels.replace("}", f',finished_reason="{reason}"}}')
            count = engine.counts.finished.get(reason, 0)
            lines.append(f"vllm:request_success_total{given} {float(count)}")
        return "\n".join([*lines, ""])
