"""What bounds an answer of TGI's own API. On its own: nothing is read into compiled modules."""

import msgspec


class Parameters(msgspec.Struct, frozen=True):
    """None: the client does not say."""

    max_new_tokens: int | None = None
    best_of: int | None = None


_decode = msgspec.json.Decoder(Parameters | None).decode


def read_parameters(raw: msgspec.Raw | None) -> Parameters:
    """Empty ones where there are none, or none that can be read: the engine says what is wrong."""
    if raw is None:
        return Parameters()
    try:
        return _decode(raw) or Parameters()
    except msgspec.DecodeError:
        return Parameters()
