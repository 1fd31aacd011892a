"""Every inference endpoint by its path: OpenAI's, the plain ones, and TGI's own API.

Both ways in, ASGI and the direct protocol, ask here, so that they agree.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import unquote

from gateway.api.endpoint import Endpoint
from gateway.api.plain import PlainDialect
from gateway.api.tgi import PREFIX, tgi_endpoint
from gateway.proxy.dialect import OpenAiDialect
from gateway.wire.ask import Operation

_OPENAI = OpenAiDialect()
_MORE_THAN_A_PATH = frozenset("?#")


class Endpoints:
    """`default_model` names the model of plain calls that name none."""

    def __init__(self, default_model: Callable[[], str]) -> None:
        self.fixed: Mapping[str, Endpoint] = MappingProxyType(
            {
                "/v1/chat/completions": Endpoint(Operation.CHAT, _OPENAI),
                "/v1/completions": Endpoint(Operation.COMPLETION, _OPENAI),
                "/v1/embeddings": Endpoint(Operation.EMBEDDINGS, _OPENAI),
                "/chat": Endpoint(Operation.CHAT, PlainDialect(default_model, stream=False)),
                "/chat/stream": Endpoint(Operation.CHAT, PlainDialect(default_model, stream=True)),
            }
        )

    def at(self, target: str) -> Endpoint | None:
        """What is at a URL as it was sent; None when it is no inference, or has to be parsed."""
        endpoint = self.fixed.get(target)
        if endpoint is None and target.startswith(PREFIX) and not _MORE_THAN_A_PATH & set(target):
            return tgi_endpoint(unquote(target))
        return endpoint
