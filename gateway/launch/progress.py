"""How far an engine's start is, by the end of its log. No I/O.

Source: logs of vLLM 0.32 and of llama-server (tests of real engines), of TGI 3.3's launcher.
"""

import re

_STAGES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), stage)
    for pattern, stage in (
        (r"Fetching \d+ files: +(\d+)%", "downloading {} %"),
        (r"Download(?:ing)? file|Starting check and download", "downloading"),
        (r"Download: \[(\d+)/(\d+)\]", "downloading {}/{}"),
        (r"Starting to load model|load_model: loading model|Starting shard", "loading weights"),
        (r"checkpoint shards: +\d+% Completed \| (\d+)/(\d+)", "loading weights {}/{}"),
        (r"Waiting for shard to be ready", "loading weights"),
        (r"Loading weights took|Shard ready", "weights loaded"),
        (r"Dynamo bytecode transform|Compiling a graph", "compiling"),
        (r"Warming up model|[Mm]emory profiling", "warming up"),
        (r"Capturing CUDA graphs.*?(\d+)%", "capturing CUDA graphs {} %"),
        (r"Application startup complete|server is listening|: listening on|Connected", "serving"),
    )
)


def stage(log: str) -> str | None:
    """What the last line that tells of progress says; None where none does."""
    last, said = -1, None
    for pattern, words in _STAGES:
        for found in pattern.finditer(log):
            if found.start() > last:
                last, said = found.start(), words.format(*found.groups())
    return said


def last_lines(log: str, count: int) -> list[str]:
    """The last lines that say something; of a progress bar, only how it ended."""
    lines = (line.rsplit("\r", 1)[-1].rstrip() for line in log.replace("\r\n", "\n").split("\n"))
    return [line for line in lines if line][-count:]
