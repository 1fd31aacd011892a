import pytest

from gateway.sizing.checkpoint import own_quantization
from gateway.sizing.gpus import find_gpu
from gateway.sizing.loaded import correction, expert_padding, loaded_stages, read_bytes
from gateway.sizing.names import find_quantization
from gateway.sizing.parts import Part
from gateway.sizing.plan import Subject, Weighed
from gateway.sizing.quantization import SIXTEEN
from gateway.sizing.units import GIB
from tests.support.models import a_model

H100 = find_gpu("H100")


def a_subject(name: str = "llama-3.1-8b", size_bytes: int | None = None) -> Subject:
    model = a_model(name)
    weighed = None if size_bytes is None else Weighed(size_bytes, "files")
    return Subject(model, own_quantization(model) or SIXTEEN, weighed)


def test_what_the_files_say_is_what_is_loaded() -> None:
    size = 16_060_522_496
    (stage,) = loaded_stages(a_subject(size_bytes=size), H100, 2, 1, 1)
    assert stage.size_bytes - stage.parts[Part.ROPE] == pytest.approx(size)


def test_without_files_the_formula_holds() -> None:
    assert correction(a_subject()) == 1
    assert correction(a_subject(size_bytes=16_060_522_496)) == pytest.approx(1, abs=1e-3)


def test_files_correct_a_quantization_that_is_made_while_loading() -> None:
    size = 2 * 16_060_522_496
    subject = Subject(a_model(), find_quantization("fp8"), Weighed(size, "files"))
    (stage,) = loaded_stages(subject, H100, 2, 1, 1)
    assert stage.size_bytes / GIB == pytest.approx(2 * 8.46, abs=0.1)


def test_stages_are_cut_by_layers() -> None:
    first, last = loaded_stages(a_subject(), H100, 2, 2, 2)
    assert (first.span, last.span) == ((0, 16), (16, 32))
    assert (first.is_last, last.is_last) == (False, True)


@pytest.mark.parametrize(
    ("gpu", "tensor", "padding"),
    [
        ("H100", 1, 1),
        ("H100", 2, 1472 / 1440),
        ("B200", 1, 2944 * 3072 / 2880**2),
        ("A100", 1, 2944 * 3072 / 2880**2),
    ],
)
def test_mxfp4_experts_are_padded_to_what_kernels_want(
    gpu: str, tensor: int, padding: float
) -> None:
    subject = a_subject("gpt-oss-20b")
    assert expert_padding(subject.model, subject, find_gpu(gpu), tensor) == pytest.approx(padding)


def test_nothing_else_is_padded() -> None:
    subject = a_subject("mixtral-8x7b")
    assert expert_padding(subject.model, subject, H100, 1) == 1
    dense = Subject(a_model(), find_quantization("mxfp4"))
    assert expert_padding(dense.model, dense, H100, 1) == 1


def test_a_token_reads_few_experts_and_no_embedding() -> None:
    mixture, dense = a_subject("mixtral-8x7b"), a_subject()
    (stage,) = loaded_stages(mixture, H100, 2, 1, 1)
    unread = stage.parts[Part.EXPERTS] * 6 / 8 + stage.parts[Part.EMBEDDING]
    assert read_bytes(mixture, stage) == pytest.approx(
        stage.size_bytes - unread - stage.parts[Part.ROPE]
    )
    (stage,) = loaded_stages(dense, H100, 2, 1, 1)
    assert read_bytes(dense, stage) < stage.size_bytes - stage.parts[Part.EMBEDDING]


def test_a_tied_embedding_is_read_as_the_output() -> None:
    subject = a_subject("gemma-2-9b")
    (stage,) = loaded_stages(subject, H100, 2, 1, 1)
    assert read_bytes(subject, stage) > stage.size_bytes - GIB / 4
