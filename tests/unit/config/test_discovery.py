from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config.discovery import Discovery


def read(**given: Any) -> Discovery:
    return Discovery.model_validate(given)


def by_service(**more: Any) -> Discovery:
    return read(kubernetes={"service": "vllm"} | more)


def test_a_name_or_a_service_is_enough() -> None:
    by_name, service = read(dns="vllm.models", port=8000), by_service()
    assert (by_name.kind, by_name.told) == ("dns", "dns vllm.models:8000")
    assert (service.kind, service.told) == ("kubernetes", "kubernetes vllm")
    assert by_service(namespace="models").told == "kubernetes vllm in models"
    assert read(kubernetes={"selector": "a=b"}).told == "kubernetes a=b"


def test_the_same_words_are_the_same_discovery() -> None:
    assert {by_service(port="http"), by_service(port="http")} == {by_service(port="http")}
    assert by_service(port=80) != by_service(port=81)


@pytest.mark.parametrize("path", ["", "/", "/tgi", "/tgi/"])
def test_a_path_has_no_end(path: str) -> None:
    assert read(dns="a", port=1, path=path).path == path.rstrip("/")


@pytest.mark.parametrize("server", ["127.0.0.1:8600", "[::1]:53"])
def test_a_nameserver_is_an_address_with_a_port(server: str) -> None:
    assert read(dns="a", port=1, nameservers=[server]).nameservers == (server,)


@pytest.mark.parametrize("server", ["127.0.0.1", "consul:8600", "127.0.0.1:0", "127.0.0.1:x"])
def test_other_nameservers_are_mistakes(server: str) -> None:
    with pytest.raises(ValidationError, match="ADDRESS:PORT"):
        read(dns="a", port=1, nameservers=[server])


@pytest.mark.parametrize("host", ["10.0.0.1", "http://a", "a b", "", "-a", "a" * 300])
def test_a_name_is_neither_an_address_nor_a_url(host: str) -> None:
    with pytest.raises(ValidationError):
        read(dns=host, port=1)


@pytest.mark.parametrize("port", [True, 0, 65536, "HTTP", "-", ""])
def test_ports_are_numbers_or_names(port: object) -> None:
    with pytest.raises(ValidationError):
        by_service(port=port)


def test_an_api_server_is_a_url() -> None:
    assert by_service(api_server="https://kube:6443/").kubernetes is not None
    for wrong in ("kube", "ftp://kube", "https://a:b@kube", "https://kube?x", "https://[x"):
        with pytest.raises(ValidationError, match="HOST"):
            by_service(api_server=wrong)
