import pytest

from gateway.fleet.discovery.endpoint import address_name


@pytest.mark.parametrize(("host", "name"), [("10.0.3.11", "r-10-0-3-11"), ("fd00::7", "r-fd00--7")])
def test_an_address_is_a_name_too(host: str, name: str) -> None:
    assert address_name(host) == name
