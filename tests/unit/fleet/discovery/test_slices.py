import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.discovery.endpoint import Endpoint, Standing
from gateway.fleet.discovery.slices import (
    Conditions,
    Metadata,
    PortMissing,
    Slice,
    SliceEndpoint,
    SlicePort,
    TargetRef,
    endpoints_of,
)

SERVING, NOT_READY, TERMINATING = Standing.SERVING, Standing.NOT_READY, Standing.TERMINATING
HTTP = SlicePort("http", 8000, "TCP")


def a_slice(
    *endpoints: SliceEndpoint, family: str = "IPv4", ports: list[SlicePort] | None = None
) -> Slice:
    return Slice(Metadata("s"), family, list(endpoints), [HTTP] if ports is None else ports)


def pod(name: str, address: str, **conditions: bool | None) -> SliceEndpoint:
    return SliceEndpoint([address], Conditions(**conditions), TargetRef(name, f"uid-{name}"))


@pytest.mark.parametrize(
    ("ready", "serving", "terminating", "standing"),
    [
        (None, None, None, SERVING),
        (True, True, False, SERVING),
        (True, None, None, SERVING),
        (False, False, False, NOT_READY),
        (False, True, None, NOT_READY),
        (None, False, None, NOT_READY),
        (None, True, None, SERVING),
        # a service that publishes what is not ready leaves it to our own probes
        (True, False, False, SERVING),
        (False, True, True, TERMINATING),
        (True, True, True, TERMINATING),
        (None, None, True, TERMINATING),
    ],
)
def test_conditions_mean_what_kubernetes_says(
    ready: bool | None, serving: bool | None, terminating: bool | None, standing: Standing
) -> None:
    assert Conditions(ready, serving, terminating).standing is standing


def test_an_endpoint_without_conditions_or_pod_serves_under_its_address() -> None:
    assert endpoints_of([a_slice(SliceEndpoint(["10.0.3.11"]))], "http") == [
        Endpoint("r-10-0-3-11", "10.0.3.11", 8000, SERVING)
    ]


def test_slices_are_put_together_by_name_and_empty_ones_say_nothing() -> None:
    slices = [
        a_slice(pod("b", "10.0.0.2"), SliceEndpoint([])),
        a_slice(pod("a", "10.0.0.1")),
        a_slice(ports=[]),
        Slice(Metadata("s")),
        a_slice(pod("x", "fe80::1"), family="new"),
    ]
    assert [(one.name, one.host) for one in endpoints_of(slices, None)] == [
        ("a", "10.0.0.1"),
        ("b", "10.0.0.2"),
    ]
    assert endpoints_of([], "http") == []


def test_a_pod_with_two_families_counts_once() -> None:
    six, four = a_slice(pod("a", "fd00::1"), family="IPv6"), a_slice(pod("a", "10.0.0.1"))
    assert [one.host for one in endpoints_of([six, four], None)] == ["10.0.0.1"]
    assert [one.host for one in endpoints_of([six], None)] == ["fd00::1"]
    name = a_slice(pod("a", "a.example"), family="FQDN")
    assert [one.host for one in endpoints_of([name], None)] == ["a.example"]


def test_one_pod_in_two_slices_ends_when_either_says_so() -> None:
    ends, serves = a_slice(pod("a", "10.0.0.1", terminating=True)), a_slice(pod("a", "10.0.0.1"))
    for slices in ([ends, serves], [serves, ends]):
        assert [one.standing for one in endpoints_of(slices, None)] == [TERMINATING]


def test_an_address_that_two_pods_have_is_that_of_the_one_that_serves() -> None:
    old, new = a_slice(pod("a", "10.0.0.1", terminating=True)), a_slice(pod("b", "10.0.0.1"))
    for slices in ([old, new], [new, old]):
        assert [one.name for one in endpoints_of(slices, None)] == ["b"]


def test_two_pods_of_one_name_are_one() -> None:
    first, second = pod("a", "10.0.0.1", ready=False), pod("a", "10.0.0.2")
    second.targetRef = TargetRef("a", "another")
    for slices in ([a_slice(first, second)], [a_slice(second, first)]):
        assert [one.host for one in endpoints_of(slices, None)] == ["10.0.0.2"]


@pytest.mark.parametrize(
    ("ports", "asked", "number"),
    [
        ([HTTP], None, 8000),
        ([SlicePort(None, 9000)], None, 9000),
        ([SlicePort("grpc", 9000), HTTP], None, 8000),
        ([SlicePort("grpc", 9000), HTTP], "grpc", 9000),
        ([SlicePort("grpc", 9000), HTTP], 8000, 8000),
        ([], 8000, 8000),
        ([SlicePort("dns", 53, "UDP"), HTTP], None, 8000),
    ],
)
def test_a_port_is_found_by_name_or_number(
    ports: list[SlicePort], asked: int | str | None, number: int
) -> None:
    (one,) = endpoints_of([a_slice(pod("a", "10.0.0.1"), ports=ports)], asked)
    assert one.port == number


@pytest.mark.parametrize(
    ("ports", "asked"),
    [
        ([HTTP], "grpc"),
        ([HTTP], 9000),
        ([SlicePort("a", 1), SlicePort("b", 2)], None),
        ([SlicePort("http", None)], "http"),
        ([SlicePort("http", 53, "UDP")], "http"),
        ([], "http"),
    ],
)
def test_a_port_that_no_slice_has_is_a_mistake(
    ports: list[SlicePort], asked: int | str | None
) -> None:
    with pytest.raises(PortMissing):
        endpoints_of([a_slice(pod("a", "10.0.0.1"), ports=ports)], asked)


def test_slices_may_have_different_ports() -> None:
    slices = [
        a_slice(pod("a", "10.0.0.1"), ports=[SlicePort("http", 1)]),
        a_slice(pod("b", "10.0.0.2"), ports=[SlicePort("http", 2)]),
        a_slice(pod("c", "10.0.0.3"), ports=[SlicePort("other", 3)]),
    ]
    assert [(one.name, one.port) for one in endpoints_of(slices, "http")] == [("a", 1), ("b", 2)]


pods = st.builds(
    pod,
    st.sampled_from("abcde"),
    st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
    ready=st.none() | st.booleans(),
    terminating=st.none() | st.booleans(),
)


@given(st.lists(st.lists(pods, max_size=4), max_size=4))
def test_names_and_addresses_are_unique_whatever_slices_say(
    given: list[list[SliceEndpoint]],
) -> None:
    found = endpoints_of([a_slice(*endpoints) for endpoints in given], None)
    assert len({one.name for one in found}) == len(found)
    assert len({one.host for one in found}) == len(found)
    assert [one.name for one in found] == sorted(one.name for one in found)
