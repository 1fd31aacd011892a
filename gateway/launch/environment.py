"""What of our environment an engine gets to see. No I/O.

Everything but what is ours alone: the gateway's own variables and those that hold callers' keys.
`HF_TOKEN` and its like pass through. The key that an engine is to ask for goes this way, too:
command lines can be read by every user of the machine.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from gateway.config.deploy import Deploy
from gateway.config.document import Document
from gateway.config.secrets import Secret
from gateway.config.settings import PREFIX

# of whoever started us: a service manager's, or an environment of Python that is not the engine's
_NOT_THEIRS = frozenset({"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC"})
_OF_OUR_PYTHON = frozenset({"VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"})
_KEY_OF = {"vllm": "VLLM_API_KEY", "tgi": "API_KEY", "llamacpp": "LLAMA_API_KEY"}


def engine_environment(
    ours: Mapping[str, str],
    document: Document,
    deploy: Deploy,
    *,
    kind: str,
    api_key: str | None,
    gpus: Sequence[str],
    sleeps: bool = False,
) -> dict[str, str]:
    """`gpus`: the ids of those it may use; none hides all. `sleeps`: it is a vLLM that we wake."""
    hidden = _NOT_THEIRS | set(secret_variables(document))
    if deploy.python is not None:
        hidden |= _OF_OUR_PYTHON
    seen = {
        name: value
        for name, value in ours.items()
        if name not in hidden and not name.startswith(PREFIX)
    }
    seen |= {"PYTHONUNBUFFERED": "1", "CUDA_VISIBLE_DEVICES": ",".join(gpus)}
    if deploy.python is not None:
        # what vLLM compiles with is beside its Python
        programs = Path(deploy.python).expanduser().parent
        seen["PATH"] = f"{programs}{os.pathsep}{ours.get('PATH', os.defpath)}"
    if api_key is not None and kind in _KEY_OF:
        seen[_KEY_OF[kind]] = api_key
    if sleeps:
        seen["VLLM_SERVER_DEV_MODE"] = "1"
    return seen | deploy.environment


def secret_variables(part: object) -> Iterator[str]:
    """The variables that hold secrets of this part of the file."""
    if isinstance(part, Secret):
        if part.from_env is not None:
            yield part.from_env
    elif isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from secret_variables(getattr(part, name))
    elif isinstance(part, tuple):
        for item in part:
            yield from secret_variables(item)
