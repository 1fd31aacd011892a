"""What packages that are installed beside the gateway add to it."""

import json
import os
from pathlib import Path

import httpx

from gateway.simulator.serve import serve_engine
from tests.support.child import CHECKOUT, a_child
from tests.support.policy_package import install_policies
from tests.support.running import FAST
from tests.support.served import PATH, chat, port_of


async def test_a_policy_of_another_package_picks_the_replica(tmp_path: Path) -> None:
    packages = install_policies(tmp_path / "packages")
    environ = {"PYTHONPATH": os.pathsep.join((str(CHECKOUT), packages))}
    file = tmp_path / "gateway.yaml"
    async with serve_engine(FAST) as first, serve_engine(FAST) as last:
        replicas = [{"url": first.url, "name": "first"}, {"url": last.url, "name": "last"}]
        variant = {"engine": "vllm", "served_model": "sim", "replicas": replicas}
        model = {"name": "m", "policy": "last", "variants": [variant]}
        file.write_text(json.dumps({"models": [model]}))
        command = ("serve", "-c", str(file), "--host", "127.0.0.1", "--port", "0")
        async with a_child(*command, environ=environ) as child:
            await child.says("http://localhost:")
            url = f"http://127.0.0.1:{port_of(child)}"
            async with httpx.AsyncClient(base_url=url, timeout=20) as client:
                answers = [await client.post(PATH, json=chat()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert [answer.headers["x-gateway-replica"] for answer in answers] == ["last"] * 3
