import pytest

from gateway.launch.progress import last_lines, stage

VLLM = """\
(APIServer pid=1) INFO 11-26 00:21:37 [model.py:2152] Using max model len 1024
(Worker pid=9) INFO 11-26 00:22:41 [cpu_model_runner.py:68] Starting to load model tiny-hf...
"""
SHARDS = "\rLoading safetensors checkpoint shards:  25% Completed | 1/4 [00:00<?, ?it/s]"


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("", None),
        ("nothing of interest", None),
        (VLLM, "loading weights"),
        (VLLM + SHARDS, "loading weights 1/4"),
        (VLLM + SHARDS + SHARDS.replace("1/4", "4/4"), "loading weights 4/4"),
        (VLLM + SHARDS + "\n[default_loader.py:501] Loading weights took 1 s", "weights loaded"),
        ("Loading weights took 1 s\nStarting to load model again", "loading weights"),
        ("Fetching 12 files:  50%|#####     | 6/12", "downloading 50 %"),
        ("Capturing CUDA graphs (PIECEWISE):  45%|#", "capturing CUDA graphs 45 %"),
        ("srv    load_model: loading model 'tiny.gguf'", "loading weights"),
        ("srv  llama_server: listening on http://127.0.0.1:15228", "serving"),
        ("text_generation_launcher: Download: [1/2] -- ETA: 0:00:10", "downloading 1/2"),
        ("shard-manager: Waiting for shard to be ready... rank=0", "loading weights"),
        ("text_generation_router: Warming up model", "warming up"),
    ],
)  # fmt: skip
def test_the_last_word_of_progress_counts(log: str, told: str | None) -> None:
    assert stage(log) == told


def test_the_last_lines_are_those_that_say_something() -> None:
    log = "a\n\n b  \r\nbar 1%\rbar 2%\rbar 3%\n\n"
    assert last_lines(log, 10) == ["a", " b", "bar 3%"]
    assert last_lines(log, 1) == ["bar 3%"]
    assert last_lines("", 3) == []
