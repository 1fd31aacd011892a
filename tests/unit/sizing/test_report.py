from dataclasses import replace

from gateway.sizing.deployment import Engine
from gateway.sizing.report import HEADERS, one_plan, plan_data, start_command, summary, table
from tests.support.models import a_plan


def test_the_summary_says_what_was_planned_for() -> None:
    assert summary("m", a_plan(max_model_len=8192)) == (
        "m: 8.03 B parameters on H100 (79.19 GiB), vllm 0.33, up to 8192 tokens in 1024 sequences"
    )
    many = a_plan(max_model_len=8192, gpus=4, tensor_parallel=2)
    assert "on 4 × H100 (79.19 GiB), tensor parallel 2, pipeline parallel 2, vllm" in summary(
        "m", many
    )
    piped = a_plan(max_model_len=8192, gpus=2, pipeline_parallel=2)
    assert "GiB), pipeline parallel 2, vllm" in summary("m", piped)


def test_data_is_rounded_to_what_is_meant() -> None:
    data = plan_data(replace(a_plan(), weights_gib=1 / 3, kv_cache_gib_range=(1 / 3, 2 / 3)))
    assert data["weights_gib"] == 0.3333
    assert data["kv_cache_gib_range"] == [0.3333, 0.6667]
    assert data["starts"] is True
    assert data["stages"] == []
    piped = plan_data(a_plan(gpus=2, pipeline_parallel=2, engine_version="0.19"))
    assert isinstance(piped["stages"], list)
    assert piped["stages"][0]["end_layer"] == 16


def test_a_table_has_a_row_for_each_plan() -> None:
    headers, rows = table([a_plan(), a_plan("phi-2", max_model_len=8192)])
    assert headers == HEADERS
    assert [row[:2] for row in rows] == [("bf16", "yes"), ("bf16", "no")]
    assert all(len(row) == len(HEADERS) for row in rows)


def test_one_plan_is_told_figure_by_figure() -> None:
    told = {row[0]: row[1] for row in one_plan(a_plan())}
    assert told["weights"] == "14.99 GiB"
    piped = {row[0]: row[1:] for row in one_plan(a_plan(gpus=2, pipeline_parallel=2))}
    assert piped["stage 1"][1].startswith("layers 0 to 15: weights 7.51, activation ")
    unknown = replace(a_plan(), decode_tokens_per_second_ceiling=None)
    assert {row[0]: row[1] for row in one_plan(unknown)}["decode speed at most"] == "unknown"


def test_the_command_is_the_engines_own() -> None:
    made = replace(a_plan(), flags=["--a", "b c"])
    assert start_command("m", made) == "vllm serve m --a 'b c'"
    tgi, llama = (replace(made, engine=engine) for engine in (Engine.TGI, Engine.LLAMACPP))
    assert start_command("m", tgi).startswith("text-generation-launcher --model-id m ")
    assert start_command("m", llama).startswith("llama-server -m m ")
