import pytest

from gateway.fleet.sent import FADE, Sent


def siblings() -> tuple[Sent, Sent]:
    one, other = Sent(), Sent()
    other.share(one.calls)
    return one, other


def test_it_fades_with_every_call_to_any_of_the_siblings() -> None:
    one, other = siblings()
    one.add(10)
    assert (one.blocks, other.blocks) == (10, 0)
    other.add(4)
    one.add(1)
    assert one.blocks == pytest.approx(10 * FADE**2 + 1)
    assert other.blocks == pytest.approx(4 * FADE)


def test_who_gets_other_siblings_keeps_what_there_is() -> None:
    one, other = siblings()
    one.add(10)
    other.add(0)
    stranger = Sent()
    stranger.add(5)
    one.share(stranger.calls)
    assert one.blocks == pytest.approx(10 * FADE)
    stranger.add(5)
    assert one.blocks == pytest.approx(10 * FADE**2)
