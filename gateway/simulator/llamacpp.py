"""llama-server on the wire.

Source: llama.cpp's server as it was recorded.
"""

from collections.abc import Sequence
from typing import ClassVar

from typing_extensions import override

from gateway.simulator.generation import Step
from gateway.simulator.openai import Body, Job, OpenAiFace, Refused
from gateway.simulator.server import Request, Wire

_TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}


class LlamaCppFace(OpenAiFace):
    """llama.cpp's server: any model name will do, requests beyond the slots wait."""

    unknown_model_status: ClassVar[int] = 200

    @override
    def get(self, request: Request, wire: Wire) -> None:
        scheduler = self.engine.scheduler
        match request.path:
            case "/health" | "/v1/health" if self.engine.is_loading:
                self.json(wire, 503, self.error(Refused(503, "Loading model")))
            case "/health" | "/v1/health":
                self.json(wire, 200, {"status": "ok"})
            case "/metrics":
                self.text(wire, 200, self.metrics())
            case "/props":
                self.json(wire, 200, {"total_slots": self.options.max_num_seqs})
            case "/slots":
                slots = range(self.options.max_num_seqs)
                busy = len(scheduler.running)
                self.json(wire, 200, [{"id": n, "is_processing": n < busy} for n in slots])
            case _:
                super().get(request, wire)

    @override
    def model_of(self, body: Body) -> str:
        return str(body.get("model") or self.options.models[0])

    @override
    def error(self, refused: Refused) -> Body:
        kind = "unavailable_error" if refused.status == 503 else _TYPES.get(refused.status)
        if refused.param == "input_tokens":
            kind = "exceed_context_size_error"
        return {
            "error": {
                "code": refused.status,
                "message": refused.message,
                "type": kind or "server_error",
            }
        }

    @override
    def unknown_path(self) -> Body:
        return self.error(Refused(404, "File Not Found"))

    @override
    def continues(self, messages: Sequence[Body], body: Body) -> bool:
        return bool(messages) and messages[-1].get("role") == "assistant"

    @override
    def too_long(self, prompt: int, asked: object, *, is_chat: bool) -> Refused:
        return Refused(
            400,
            f"the request exceeds the available context size ({self.options.max_model_len} tokens)",
            param="input_tokens",
        )

    @override
    def chunk_choice(self, job: Job, index: int, step: Step) -> Body:
        said: Body = {"delta": {"content": step.text}} if job.is_chat else {"text": step.text}
        return {"finish_reason": self.finish_reason(step, job), "index": index, **said}

    @override
    def first_chunk(self, job: Job, index: int) -> str | None:
        if not job.is_chat:
            return None
        delta = {"role": "assistant", "content": None}
        return self.chunk(job, [{"finish_reason": None, "index": index, "delta": delta}])

    def metrics(self) -> str:
        """The Prometheus text."""
        scheduler, counts = self.engine.scheduler, self.engine.counts
        samples = {
            "requests_processing": len(scheduler.running),
            "requests_deferred": len(scheduler.waiting),
            "prompt_tokens_total": counts.prompt_tokens,
            "tokens_predicted_total": counts.generated_tokens,
        }
        return "".join(f"llamacpp:{name} {value}\n" for name, value in samples.items())
