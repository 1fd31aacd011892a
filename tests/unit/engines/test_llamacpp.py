from gateway.engines.adapter import State
from gateway.engines.llamacpp import LlamaCppAdapter
from gateway.errors import EngineRefused

LLAMACPP = LlamaCppAdapter()


def test_what_it_was_built_without_is_refused_in_its_own_words() -> None:
    body = b'{"error":{"code":501,"message":"no embeddings","type":"not_supported_error"}}'
    failure = LLAMACPP.refusal(501, body, None)
    assert isinstance(failure, EngineRefused)
    assert failure.public == "no embeddings"


def test_it_says_when_it_is_loading() -> None:
    assert LLAMACPP.state(503, b"") is State.LOADING
    assert LLAMACPP.state(500, b"") is State.UNHEALTHY
