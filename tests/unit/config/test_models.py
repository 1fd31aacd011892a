from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.config.models import Model, Replica
from tests.support.configs import a_model, a_variant


def test_the_short_form_is_one_variant_with_one_replica() -> None:
    short = Model.model_validate(
        {
            "name": "m",
            "engine": "tgi",
            "url": "http://h:80",
            "quantization": "fp8",
            "served_model": "org/m",
            "policy": "round-robin",
        }
    )
    full = Model.model_validate(
        {
            "name": "m",
            "policy": "round-robin",
            "variants": [
                {
                    "engine": "tgi",
                    "quantization": "fp8",
                    "served_model": "org/m",
                    "replicas": [{"url": "http://h:80"}],
                }
            ],
        }
    )
    assert short == full


def test_the_short_form_takes_several_replicas() -> None:
    replicas = [{"url": "http://a"}, {"url": "http://b", "weight": 2}]
    model = Model.model_validate({"name": "m", "engine": "vllm", "replicas": replicas})
    assert [(r.url, r.weight) for r in model.variants[0].replicas] == [
        ("http://a", 1),
        ("http://b", 2),
    ]


def test_the_short_form_takes_url_or_replicas_and_not_both() -> None:
    with pytest.raises(ValidationError, match="give either url or replicas"):
        Model.model_validate(a_model(replicas=[{"url": "http://a"}]))


@pytest.mark.parametrize("given", ["m", 1, None, ["m"]])
def test_a_model_is_a_mapping(given: object) -> None:
    with pytest.raises(ValidationError):
        Model.model_validate(given)


def test_a_model_without_an_engine_has_no_variants() -> None:
    with pytest.raises(ValidationError, match="variants"):
        Model.model_validate({"name": "m"})


@pytest.mark.parametrize("aliases", [["m"], ["a", "a"]])
def test_every_alias_is_another_name(aliases: list[str]) -> None:
    with pytest.raises(ValidationError, match="every alias must be another name"):
        Model.model_validate(a_model("m", aliases=aliases))


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "https://h.example:8443",
        "http://10.0.0.1:8000/",
        "http://[::1]:8000",
        "http://[fe80::1%25eth0]:8000",
        "http://h/behind/a/path",
        "http://h/caf%C3%A9",
        "HTTP://H:80",
    ],
)
def test_an_address_of_a_replica(url: str) -> None:
    assert Replica(url=url).url == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("h:8000", "must be http://HOST"),
        ("//h", "must be http://HOST"),
        ("ftp://h", "must be http://HOST"),
        ("http://", "must be http://HOST"),
        ("http://:80", "must be http://HOST"),
        ("http://h:0", "must be http://HOST"),
        ("http://h:65536", "must be http://HOST"),
        ("http://h:x", "must be http://HOST"),
        ("http://[::1", "must be http://HOST"),
        ("http://h<x>/", "must be http://HOST"),
        ("http://user@h", "must not hold a user name"),
        ("http://:secret@h", "must not hold a user name"),
        ("http://h?a=b", "must not hold a query"),
        ("http://h#a", "must not hold a query"),
        ("http://h/v1", "leave out /v1"),
        ("http://h/v1/", "leave out /v1"),
        ("http://h/a b", "must be ASCII without spaces"),
        ("http://h/ü", "must be ASCII without spaces"),
        ("http://ü.example", "must be ASCII without spaces"),
        ("http://h/\r\nx: y", "must be ASCII without spaces"),
    ],
)
def test_no_address_of_a_replica(url: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Replica(url=url)


@given(st.text(st.characters(codec="utf-8"), max_size=60).map("http://h/".__add__))
def test_an_accepted_address_can_be_put_into_a_request_line(url: str) -> None:
    try:
        accepted = Replica(url=url).url
    except ValidationError:
        return
    assert accepted.isascii()
    assert accepted.isprintable()
    assert " " not in accepted


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "two words"},
        {"name": "m" * 257},
        {"aliases": "gpt-4o"},
        {"timeouts": {"idle_s": 0}},
        {"timeouts": {"idle_s": "soon"}},
        {"timeouts": {"total_s": 86_401}},
        {"fallbacks": [""]},
        {"variants": []},
        {"variants": [a_variant("fp 8")]},
        {"variants": [a_variant("a:b")]},
        {"variants": [a_variant("fp8", weight=0)]},
        {"variants": [a_variant("fp8", weight=-1)]},
        {"variants": [a_variant("fp8", engine="triton")]},
        {"variants": [a_variant("fp8", served_model="")]},
        {"variants": [a_variant("fp8", replicas=[])]},
        {"variants": [a_variant("fp8", tls={"ca": "x"})]},
    ],
)
def test_what_a_model_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Model.model_validate(a_model(**wrong))
