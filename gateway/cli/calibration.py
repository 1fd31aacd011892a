"""`gateway plan --calibrate`: a result of `gateway bench` as what a roofline learns from."""

import re
from dataclasses import replace
from pathlib import Path

import msgspec

from gateway.errors import PlanInvalid
from gateway.sizing.calibration import Measured
from gateway.sizing.deployment import Deployment
from gateway.sizing.gpus import find_gpu

_VERSION = 1
_DEPLOYED = re.compile(r"(?:(?P<count>[1-9]\d{0,2})x)?(?P<gpu>[^:]+)(?::(?P<tag>.+))?")


class _Spread(msgspec.Struct):
    mean: float
    p50: float


class _Test(msgspec.Struct):
    whole: int
    served_per_s: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    ttft_ms: _Spread | None
    tpot_ms: _Spread | None
    e2e_ms: _Spread | None


class _Bench(msgspec.Struct):
    version: int
    tests: list[_Test]


def read_calibration(path: Path) -> list[Measured]:
    """The tests of a `gateway bench --json` file. Raises PlanInvalid."""
    try:
        bench = msgspec.json.decode(path.read_bytes(), type=_Bench)
    except OSError as exc:
        raise PlanInvalid(f"--calibrate {path}: {exc.strerror}") from exc
    except msgspec.DecodeError as exc:
        raise PlanInvalid(
            f"--calibrate {path} is no result of gateway bench --json: {exc}"
        ) from exc
    if bench.version != _VERSION:
        raise PlanInvalid(f"--calibrate {path} has version {bench.version}; known is {_VERSION}")
    return [one for test in bench.tests if (one := _measured(test)) is not None]


def deployed_on(told: str | None, wanted: Deployment) -> Deployment:
    """The deployment that was tested: `wanted`, with what `told` says, such as 2xH100:fp8."""
    if told is None:
        return wanted
    match = _DEPLOYED.fullmatch(told)
    if match is None:
        raise PlanInvalid(f'--calibrate-on "{told}" must be like H100, 2xH100 or 2xH100:fp8')
    return replace(
        wanted,
        gpu=find_gpu(match["gpu"]),
        gpus=int(match["count"] or 1),
        tensor_parallel=int(match["count"] or 1),
        quantization=match["tag"] or wanted.quantization,
    )


def _measured(test: _Test) -> Measured | None:
    """None where nothing was streamed whole, or no token followed a first one."""
    if not (test.whole and test.ttft_ms and test.tpot_ms and test.e2e_ms):
        return None
    prompt = test.prompt_tokens / test.whole
    return Measured(
        running=test.served_per_s * (test.e2e_ms.mean - test.ttft_ms.mean) / 1000,
        prompt_tokens=prompt - test.cached_tokens / test.whole,
        context_tokens=prompt + test.completion_tokens / test.whole / 2,
        requests_per_second=test.served_per_s,
        ttft_s=test.ttft_ms.p50 / 1000,
        inter_token_s=test.tpot_ms.mean / 1000,
    )
