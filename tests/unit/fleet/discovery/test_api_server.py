from pathlib import Path

import pytest

from gateway.config.discovery import Kubernetes
from gateway.fleet.discovery.api_server import ApiServer, NotInCluster

POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "6443"}


def a_server(account: Path, environ: dict[str, str], **more: object) -> ApiServer:
    given = Kubernetes.model_validate({"service": "s"} | more)
    return ApiServer.of(given, environ, account)


def test_in_a_pod_everything_is_there(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("models\n")
    assert a_server(tmp_path, POD) == ApiServer(
        "https://10.96.0.1:6443", "models", tmp_path / "token", tmp_path / "ca.crt"
    )
    six = a_server(tmp_path, {"KUBERNETES_SERVICE_HOST": "fd00::1"}, namespace="x")
    assert (six.url, six.namespace) == ("https://[fd00::1]:443", "x")


def test_what_is_configured_goes_first_and_no_token_is_shown_to_others(tmp_path: Path) -> None:
    given = {"api_server": "http://localhost:8001", "namespace": "x"}
    here = a_server(tmp_path, POD, **given)
    assert here == ApiServer("http://localhost:8001", "x", None, None)
    assert here.headers() == {"accept": "application/json"}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotInCluster, match="api_server"):
        a_server(tmp_path, {})
    with pytest.raises(NotInCluster, match="namespace"):
        a_server(tmp_path, POD)


def test_the_token_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    here = ApiServer("https://x", "y", file, None)
    with pytest.raises(OSError, match="token"):
        here.headers()
    for token in ("one", "two"):
        file.write_text(f"{token}\n")
        assert here.headers()["authorization"] == f"Bearer {token}"
    file.write_text("a\nb")
    with pytest.raises(ValueError, match="token"):
        here.headers()


async def test_the_public_authorities_are_trusted_where_none_is_given() -> None:
    async with ApiServer("https://api.test", "y", None, None).client() as client:
        assert str(client.base_url) == "https://api.test"
