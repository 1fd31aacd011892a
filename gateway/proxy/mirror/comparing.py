"""From two answers to one call to what is told of how they differ. Pure."""

from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec

from gateway.proxy.mirror.agreement import Agreement, of_texts, of_vectors
from gateway.proxy.mirror.comparison import MAX_CHARACTERS, Comparison, Side
from gateway.proxy.mirror.said import text_of, vectors_of
from gateway.wire.ask import Ask, Operation

if TYPE_CHECKING:
    from gateway.proxy.account import Account

_number = msgspec.json.Decoder(float)


class Heard(NamedTuple):
    """One answer: `body` as its client got it, and what is known of it.

    The times are of its only try; None where there were several, which say nothing of an engine.
    """

    body: bytes
    variant: str
    replica: str
    finish_reason: str | None
    completion_tokens: int | None
    ttft_s: float | None
    duration_s: float | None

    @classmethod
    def of(cls, account: "Account", body: bytes, now_s: float) -> Self:
        """An answer that is whole now."""
        _, variant, replica = account.route
        usage = account.usage
        ttft_s = duration_s = None
        if account.attempts == 1 and account.hedge is None:
            began_s = account.trying.began_s
            duration_s = now_s - began_s
            if account.stream and account.first_content_s is not None:
                ttft_s = account.first_content_s - began_s
        return cls(
            body,
            variant,
            replica,
            account.finish_reason,
            None if usage is None else usage.completion_tokens,
            ttft_s,
            duration_s,
        )


class Pair(NamedTuple):
    """Two answers to compare. `keeps_text`: content may be recorded."""

    request_id: str
    ask: Ask
    model: str
    shadow_name: str
    client: Heard
    shadow: Heard
    keeps_text: bool


def compared(pair: Pair, unix_s: float) -> Comparison | None:
    """None: one of them cannot be read."""
    ask = pair.ask
    texts: tuple[str | None, str | None] = (None, None)
    if ask.operation is Operation.EMBEDDINGS:
        agreement = _of_embeddings(pair)
    else:
        ours, theirs = (
            text_of(one.body, is_stream=ask.stream) for one in (pair.client, pair.shadow)
        )
        if ours is None or theirs is None:
            return None
        agreement = of_texts(ours, theirs)
        if pair.keeps_text:
            texts = (ours[:MAX_CHARACTERS], theirs[:MAX_CHARACTERS])
    if agreement is None:
        return None
    return Comparison(
        time=round(unix_s, 3),
        request_id=pair.request_id,
        model=pair.model,
        shadow=pair.shadow_name,
        operation=ask.operation.value,
        stream=ask.stream,
        greedy=is_greedy(ask),
        same=agreement.is_same,
        common_prefix_ratio=agreement.common_prefix_ratio,
        first_difference=agreement.first_difference,
        cosine=agreement.cosine,
        answers={"client": _side(pair.client, texts[0]), "shadow": _side(pair.shadow, texts[1])},
    )


def is_greedy(ask: Ask) -> bool:
    """Whether the likeliest token is always taken, so that equal models give equal texts."""
    if ask.operation is Operation.EMBEDDINGS:
        return True
    try:
        return _number.decode(ask.fields["temperature"]) == 0
    except (KeyError, msgspec.DecodeError):
        return False


def _of_embeddings(pair: Pair) -> Agreement | None:
    ours, theirs = vectors_of(pair.client.body), vectors_of(pair.shadow.body)
    return None if ours is None or theirs is None else of_vectors(ours, theirs)


def _side(heard: Heard, text: str | None) -> Side:
    return Side(
        heard.variant,
        heard.replica,
        heard.finish_reason,
        heard.completion_tokens,
        _ms(heard.ttft_s),
        _ms(heard.duration_s),
        text,
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
