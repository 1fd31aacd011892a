"""`helm/templates/_quantizations.tpl`: which names an engine runs, and the flag of each.

Empty: nothing is told, the checkpoint says it. The names are those of `gateway plan`.
"""

import json
from collections.abc import Iterator

from gateway.sizing.names import _KNOWN


def template() -> str:
    """The template file."""
    table = {"tgi": dict(_tgi()), "vllm": dict(_vllm())}
    text = json.dumps(table, indent=1, sort_keys=True)
    return (
        "{{- /* written by `python -m tests.chart.generate` from gateway/sizing */ -}}\n"
        f'{{{{- define "sluicegate.quantizations" -}}}}\n{text}\n{{{{- end -}}}}\n'
    )


def _vllm() -> Iterator[tuple[str, str]]:
    for name, one in _KNOWN.items():
        if one.vllm is not None:
            yield name, one.vllm if one.is_online else ""


def _tgi() -> Iterator[tuple[str, str]]:
    for name, one in _KNOWN.items():
        if one.tgi is not None:
            yield name, one.tgi if one.bits is not None else ""
