"""Record what real engines answer: `python -m tests.engines.record_transcripts [vllm] [llamacpp]`.

Writes `tests/golden/transcripts/`. Run it after a new engine version was pinned and read the diff:
it is the list of what changed on the wire. Ports, dates, ids and timings differ each time.
"""

import getpass
import json
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.engines.scenarios import LLAMACPP, VLLM, chat, completion, get
from tests.support.engine_home import CHECKOUT, LLAMA_CPP_COMMIT, VLLM_VERSION, models_folder
from tests.support.ports import free_port
from tests.support.raw_http import OpenAnswer, ask, ask_and_disturb
from tests.support.real_engines import (
    RealEngine,
    TinyModels,
    running,
    start_llama_server,
    start_vllm,
    write_tiny_models,
)
from tests.support.transcripts import TRANSCRIPTS, Answered, Asked, Ending, Transcript

A_LONG_CHAT = chat(max_tokens=900)
A_LONG_STREAM = chat(max_tokens=900, stream=True)
A_VERY_LONG_STREAM = chat(max_tokens=8000, stream=True)
KEPT_AT_EACH_END = 30
SIGTERM_TRIES = 4
PATIENCE_AFTER_SIGTERM_S = 5.0
STRICT_VLLM = (
    *("--max-num-seqs", "1", "--max-num-queued-reqs", "2", "--api-key", "sesame"),
    *("--shutdown-timeout", "20", "--sse-keep-alive-interval", "1"),
    *("--enable-request-id-headers", "--enable-prompt-tokens-details"),
)
SESAME = ("authorization", "Bearer sesame")


class MachineShowsError(Exception):
    """An answer names this machine or its folders, and must not be committed like that."""


@dataclass(frozen=True, slots=True)
class Notebook:
    """The transcripts of one engine as it was started."""

    folder: str
    engine: str
    version: str
    url: str
    flags: tuple[str, ...] = ()

    def keep(self, name: str, asked: Asked, answered: Answered, note: str = "") -> None:
        path = TRANSCRIPTS / self.folder / f"{name}.json"
        if len(answered.pieces) > 2 * KEPT_AT_EACH_END and answered.framing == "chunked":
            start, end = answered.pieces[:KEPT_AT_EACH_END], answered.pieces[-KEPT_AT_EACH_END:]
            left_out = len(answered.pieces) - 2 * KEPT_AT_EACH_END
            note = f"{note}; {left_out} chunks in the middle were left out".removeprefix("; ")
            answered = replace(answered, pieces=start + end)
        Transcript(self.engine, self.version, self.flags, note, asked, answered).save(path)
        text = path.read_text()
        for private in (str(CHECKOUT), str(Path.home()), socket.gethostname(), getpass.getuser()):
            if f"{private}/" in text or (len(private) > len("runner") and private in text):
                path.unlink()
                raise MachineShowsError(f"{name}: the answer contains {private!r}")
        print(f"{self.folder}/{name}: {answered.status_line or answered.ending}", flush=True)

    def record(self, name: str, asked: Asked, note: str = "") -> None:
        self.keep(name, asked, ask(self.url, asked), note)


def record_vllm(models: TinyModels) -> None:
    notebook = partial(Notebook, f"vllm-{VLLM_VERSION}", "vllm", VLLM_VERSION)
    start = partial(start_vllm, model_dir=models.hugging_face, served_name=("tiny", "tiny-alias"))
    with running(start(free_port()), start(free_port())) as (plain, fragile):
        _record_plain_vllm(plain, notebook(plain.url))
        _record_core_death(fragile, notebook(fragile.url))
    with running(start(free_port(), extra_args=STRICT_VLLM)) as (strict,):
        _record_strict_vllm(strict, notebook(strict.url, STRICT_VLLM))
    _record_sigterm(start, notebook)


def _record_plain_vllm(engine: RealEngine, notebook: Notebook) -> None:
    for name, asked in VLLM.items():
        notebook.record(name, asked)
    _record_resumed(notebook)
    streams = [OpenAnswer(engine.url, A_LONG_STREAM) for _ in range(3)]
    for stream in streams:
        for _ in range(20):
            stream.piece()
    notebook.record("metrics-busy", get("/metrics"), "three streams were running")
    for stream in streams:
        stream.close()
    time.sleep(1)
    notebook.record("metrics-after-disconnects", get("/metrics"), "three clients had left")


def _record_sigterm(
    start: Callable[[int], RealEngine], notebook: Callable[[str], Notebook]
) -> None:
    """Both ends that vLLM's default shutdown gives to what is running, if chance shows both.

    The engine core is told to end and killed right after. When it is quick its last words are
    "abort"; when it is not, the HTTP server waits for its connections without a word.
    """
    ends: set[Ending] = set()
    for _ in range(SIGTERM_TRIES):
        with running(start(free_port()), start(free_port())) as engines:
            for engine in engines:
                ends.add(_terminated(engine, notebook(engine.url)))
        if {"complete", "silent"} <= ends:
            return
    print(f"SIGTERM only showed {ends}", flush=True)


def _terminated(engine: RealEngine, notebook: Notebook) -> Ending:
    note = "SIGTERM during the answer"
    waiting = OpenAnswer(engine.url, A_LONG_CHAT, PATIENCE_AFTER_SIGTERM_S)
    streamed = ask_and_disturb(
        engine.url, A_LONG_STREAM, engine.terminate, 20, PATIENCE_AFTER_SIGTERM_S
    )
    whole = waiting.finish()
    for name, asked, answered in (
        ("sigterm-chat-stream", A_LONG_STREAM, streamed),
        ("sigterm-chat", A_LONG_CHAT, whole),
    ):
        suffix = "" if answered.ending == "complete" else f"-{answered.ending}"
        notebook.keep(name + suffix, asked, answered, note)
    return streamed.ending


def _record_resumed(notebook: Notebook) -> None:
    """The first six tokens of `chat-stream-token-ids` given back as part of the prompt."""
    first = Transcript.load(TRANSCRIPTS / notebook.folder / "chat-token-ids.json").answered
    prompt, generated = _token_ids(first)
    resumed = chat(
        max_tokens=6,
        stream=True,
        return_token_ids=True,
        stream_options={"include_usage": True},
        kv_transfer_params={"prompt_token_ids": prompt + generated},
    )
    notebook.record("chat-stream-resumed", resumed, "chat-token-ids.json, continued")
    notebook.record(
        "completions-stream-resumed",
        completion(prompt=prompt + generated, stream=True, return_token_ids=True),
        "chat-token-ids.json, continued",
    )


def _record_core_death(engine: RealEngine, notebook: Notebook) -> None:
    note = "the engine core was killed during the answer"
    waiting = OpenAnswer(engine.url, A_LONG_CHAT)
    streamed = ask_and_disturb(engine.url, A_LONG_STREAM, engine.kill_engine_core, 20)
    notebook.keep("core-killed-chat-stream", A_LONG_STREAM, streamed, note)
    notebook.record("core-killed-health", get("/health"), "just after the engine core was killed")
    notebook.keep("core-killed-chat", A_LONG_CHAT, waiting.finish(), note)


def _record_strict_vllm(engine: RealEngine, notebook: Notebook) -> None:
    notebook.record("key-missing", chat())
    notebook.record("key-wrong", chat(("authorization", "Bearer simsim")))
    notebook.record("key-right", chat(SESAME, ("x-request-id", "given-by-client")))

    long_stream = replace(A_LONG_STREAM, headers=(*A_LONG_STREAM.headers, SESAME))
    first = OpenAnswer(engine.url, long_stream)
    first.piece()
    asked = chat(SESAME, stream=True)
    queued = OpenAnswer(engine.url, asked)
    _wait_for_metric(engine, 'vllm:num_requests_waiting{engine="0",model_name="tiny"} 1.0')
    notebook.record("overloaded", chat(SESAME), "one request ran, one was queued")
    notebook.record("overloaded-stream", asked, "one request ran, one was queued")
    notebook.record("metrics-overloaded", get("/metrics"), "one request ran, one was queued")
    queued.head()
    queued.piece()
    queued.piece()
    first.close()
    notebook.keep("keep-alive-stream", asked, queued.finish(), "queued for some seconds")

    draining = OpenAnswer(engine.url, long_stream)
    draining.piece()
    engine.terminate()
    time.sleep(0.5)
    note = "SIGTERM half a second ago, another stream still runs"
    notebook.record("draining-health", get("/health"), note)
    notebook.record("draining-models", get("/v1/models", SESAME), note)
    notebook.record("draining-chat", chat(SESAME), note)
    notebook.record("draining-chat-stream", asked, note)
    draining.close()


def record_llamacpp(models: TinyModels) -> None:
    notebook = partial(Notebook, "llamacpp", "llama.cpp", LLAMA_CPP_COMMIT)
    engine = start_llama_server(free_port(), models.gguf, "tiny")
    if loading := _first_answer(engine):
        notebook(engine.url).keep("loading-health", get("/health"), loading, "just started")
    with running(engine):
        _record_llama_server(engine, notebook(engine.url))
    with running(start_llama_server(free_port(), models.gguf, "tiny")) as (fragile,):
        note = "SIGKILL during the answer"
        streamed = ask_and_disturb(fragile.url, A_VERY_LONG_STREAM, fragile.kill, 20)
        notebook(fragile.url).keep("killed-chat-stream", A_VERY_LONG_STREAM, streamed, note)


def _record_llama_server(engine: RealEngine, notebook: Notebook) -> None:
    for name, asked in LLAMACPP.items():
        notebook.record(name, asked)
    streams = [OpenAnswer(engine.url, A_VERY_LONG_STREAM) for _ in range(3)]
    streams[0].piece()
    note = "three streams, two slots"
    notebook.record("metrics-busy", get("/metrics"), note)
    notebook.record("slots-busy", get("/slots"), note)
    notebook.record("no-slot-free", get("/slots?fail_on_no_slot=1"), note)
    for stream in streams:
        stream.close()
    waiting = OpenAnswer(engine.url, chat(max_tokens=8000), PATIENCE_AFTER_SIGTERM_S)
    streamed = ask_and_disturb(engine.url, A_VERY_LONG_STREAM, engine.terminate, after_pieces=20)
    note = "SIGTERM during the answer"
    notebook.keep("sigterm-chat-stream", A_VERY_LONG_STREAM, streamed, note)
    notebook.keep("sigterm-chat", chat(max_tokens=8000), waiting.finish(), note)


def _first_answer(engine: RealEngine) -> Answered | None:
    """What `/health` says as soon as the server listens, if that is not yet "ready"."""
    deadline = time.monotonic() + engine.ready_limit_s
    while time.monotonic() < deadline:
        try:
            answered = ask(engine.url, get("/health"))
        except ConnectionError:
            continue
        return answered if answered.status != 200 else None
    return None


def _token_ids(answered: Answered) -> tuple[list[int], list[int]]:
    document = json.loads(answered.body)
    return document["prompt_token_ids"], document["choices"][0]["token_ids"]


def _wait_for_metric(engine: RealEngine, line: str) -> None:
    deadline = time.monotonic() + 10
    while line not in ask(engine.url, get("/metrics")).body.decode().splitlines():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{engine.name} never reported {line}")
        time.sleep(0.05)


RECORDERS = {"vllm": record_vllm, "llamacpp": record_llamacpp}


def main() -> None:
    models = write_tiny_models(models_folder())
    for name in sys.argv[1:] or RECORDERS:
        RECORDERS[name](models)


if __name__ == "__main__":
    main()
