"""What an engine refuses, before it is put in that engine's words; and the types of fields."""

from collections.abc import Mapping
from typing import Any


class Refused(Exception):
    """The engine says no. `kind` None: the engine's usual word for this status.

    `is_plain`: said as text, not as the engine's JSON.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str | None = None,
        param: str | None = None,
        is_plain: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param = status, message, kind, param
        self.is_plain = is_plain


_NUMBER = (int, float)
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "model": (str,),
    "messages": (list,),
    "stream": (bool,),
    "stream_options": (dict,),
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "max_tokens": (int,),
    "max_completion_tokens": (int,),
    "n": (int,),
    "stop": (str, list),
    "logit_bias": (dict, list),
    "tools": (list,),
    "top_logprobs": (int,),
    "inputs": (str,),
    "parameters": (dict,),
    "max_new_tokens": (int,),
    "kv_transfer_params": (dict,),
}
_NAMES = {
    str: "string",
    list: "array",
    dict: "object",
    bool: "boolean",
    int: "number",
    float: "number",
    type(None): "null",
}


def wrong_field(body: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """The first field of a wrong type: its name, what it must be, what it is; None: all right."""
    for name, types in _FIELDS.items():
        value = body.get(name)
        if value is None:
            continue
        is_right = isinstance(value, types) and (types == (bool,) or not isinstance(value, bool))
        if not is_right:
            return name, _NAMES[types[0]], _NAMES[type(value)]
        inner = {"stop": str, "messages": dict, "tools": dict}.get(name)
        if inner is not None and isinstance(value, list):
            for item in value:
                if not isinstance(item, inner):
                    return name, _NAMES[inner], _NAMES[type(item)]
    return None


def token_ids(value: object) -> tuple[int, ...] | None:
    """A list of token ids; None for anything else."""
    if not isinstance(value, list) or not value:
        return None
    are_ids = all(isinstance(token, int) and not isinstance(token, bool) for token in value)
    return tuple(value) if are_ids else None
