"""What the recorder asks of each engine; names become transcript file names."""

from tests.support.transcripts import Asked, compact_json

JSON = (("content-type", "application/json"),)
MESSAGES = [{"role": "user", "content": "Hello world"}]
SPLIT_CHARACTERS = [{"role": "user", "content": "水は静かに 😀 Größe"}]
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
END_ID = 2
STOP = "ttle tra"  # the model answers "... settle travell ...": it lies across two tokens
VOCABULARY_END = 99999
A_TOOL = {
    "type": "function",
    "function": {
        "name": "open_gate",
        "description": "Opens a gate",
        "parameters": {"type": "object", "properties": {"gate": {"type": "integer"}}},
    },
}


def get(path: str, *headers: tuple[str, str]) -> Asked:
    return Asked("GET", path, headers)


def post(path: str, body: object, *headers: tuple[str, str]) -> Asked:
    text = body if isinstance(body, str) else compact_json(body)
    return Asked("POST", path, JSON + headers, text)


def chat(*headers: tuple[str, str], **fields: object) -> Asked:
    body = {"model": "tiny", "messages": MESSAGES, "temperature": 0, "max_tokens": 6} | fields
    return post(CHAT, {key: value for key, value in body.items() if value is not None}, *headers)


def completion(**fields: object) -> Asked:
    body = {"model": "tiny", "prompt": "Hello world", "temperature": 0, "max_tokens": 6}
    return post(COMPLETIONS, body | fields)


def too_long(tokens: int) -> str:
    """A prompt of at least that many tokens: this letter is one token and never merges."""
    return "Z" * tokens


COMMON = {
    "health": get("/health"),
    "models": get("/v1/models"),
    "metrics-idle": get("/metrics"),
    "unknown-path": get("/v1/nothing"),
    "wrong-method": get(CHAT),
    "chat": chat(),
    "chat-stream": chat(stream=True),
    "chat-stream-usage": chat(**USAGE),
    "chat-logprobs": chat(logprobs=True, top_logprobs=2, max_tokens=3),
    "chat-stream-logprobs": chat(logprobs=True, top_logprobs=2, max_tokens=3, stream=True),
    "chat-stop-string": chat(stop=[STOP], max_tokens=50),
    "chat-stream-stop-string": chat(stop=[STOP], max_tokens=50, **USAGE),
    "chat-stream-split-characters": chat(messages=SPLIT_CHARACTERS, max_tokens=40, **USAGE),
    "chat-end-token": chat(logit_bias={str(END_ID): 100}),
    "chat-two-choices": chat(n=2, temperature=1, seed=7),
    "chat-stream-two-choices": chat(n=2, temperature=1, seed=7, **USAGE),
    "chat-tools": chat(tools=[A_TOOL], tool_choice="auto"),
    "completions": completion(),
    "completions-stream": completion(stream=True),
    "completions-stream-usage": completion(**USAGE),
    "completions-logprobs": completion(logprobs=2, max_tokens=3),
    "completions-two-prompts": completion(prompt=["Hello", "world"]),
    "unknown-model": chat(model="nobody"),
    "no-model": chat(model=None),
    "bad-temperature": chat(temperature=-3),
    "temperature-of-wrong-type": chat(temperature="warm"),
    "malformed-json": post(CHAT, '{"model":"tiny","messages":['),
    "not-an-object": post(CHAT, "[1,2]"),
    "empty-body": post(CHAT, ""),
    "no-messages": post(CHAT, {"model": "tiny"}),
    "messages-of-wrong-type": chat(messages="Hello"),
    "stream-options-without-stream": chat(stream_options={"include_usage": True}),
    "zero-tokens": chat(max_tokens=0),
    "embeddings": post("/v1/embeddings", {"model": "tiny", "input": "Hello"}),
    "tokenize": post("/tokenize", {"model": "tiny", "prompt": "Hello", "content": "Hello"}),
}

VLLM = COMMON | {
    "version": get("/version"),
    "chat-by-alias": chat(model="tiny-alias"),
    "chat-stream-continuous-usage": chat(
        stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True}
    ),
    "chat-token-ids": chat(return_token_ids=True),
    "chat-stream-token-ids": chat(return_token_ids=True, **USAGE),
    "chat-stream-split-characters-token-ids": chat(
        messages=SPLIT_CHARACTERS, max_tokens=40, return_token_ids=True, **USAGE
    ),
    "chat-stream-stop-string-token-ids": chat(
        stop=[STOP], max_tokens=50, return_token_ids=True, **USAGE
    ),
    "chat-two-parts-message": chat(
        messages=[{"role": "user", "content": [{"type": "text", "text": "Hello world"}]}]
    ),
    "chat-one-of-two-words": chat(structured_outputs={"choice": ["gate", "water"]}),
    "chat-load-header": chat(("endpoint-load-metrics-format", "json")),
    "chat-with-request-id": chat(("x-request-id", "given-by-client")),
    "completions-token-ids": completion(prompt=[266, 267, 268], return_token_ids=True),
    "completions-echo": completion(echo=True),
    "prompt-too-long": chat(messages=[{"role": "user", "content": too_long(1100)}]),
    "prompt-too-long-stream": chat(
        messages=[{"role": "user", "content": too_long(1100)}], stream=True
    ),
    "too-many-tokens-asked": chat(max_tokens=5000),
    "bad-logit-bias": chat(logit_bias={str(VOCABULARY_END): 1}),
    "bad-logit-bias-stream": chat(logit_bias={str(VOCABULARY_END): 1}, stream=True),
    "completions-bad-logit-bias-stream": completion(
        logit_bias={str(VOCABULARY_END): 1}, stream=True
    ),
    "no-tools-in-list": chat(tools=[]),
    "five-stop-strings": chat(stop=["a1", "b2", "c3", "d4", "e5"]),
    "greedy-two-choices": chat(n=2),
    "wrong-content-type": Asked("POST", CHAT, (("content-type", "text/plain"),), chat().body),
    "disabled-route": post("/inference/v1/generate", {"token_ids": [266], "sampling_params": {}}),
    "detokenize": post("/detokenize", {"model": "tiny", "tokens": [266, 267]}),
}

LLAMACPP = {name: asked for name, asked in COMMON.items() if name != "embeddings"} | {
    "props": get("/props"),
    "slots-idle": get("/slots"),
    "chat-cut-by-context": chat(
        messages=[{"role": "user", "content": too_long(8180)}], max_tokens=100, **USAGE
    ),
    "prompt-too-long": chat(messages=[{"role": "user", "content": too_long(8300)}]),
    "prompt-too-long-stream": chat(
        messages=[{"role": "user", "content": too_long(8300)}], stream=True
    ),
    "native-completion": post("/completion", {"prompt": "Hello", "n_predict": 4}),
    "native-completion-stream": post(
        "/completion", {"prompt": "Hello", "n_predict": 4, "stream": True}
    ),
    "embeddings-not-enabled": COMMON["embeddings"],
}
