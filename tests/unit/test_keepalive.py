import socket

from gateway.keepalive import keepalive


def test_a_machine_that_vanished_is_noticed_within_half_a_minute() -> None:
    options = {name: value for _, name, value in keepalive("linux")}
    asked_s = options[socket.TCP_KEEPIDLE]
    asked_s += options[socket.TCP_KEEPINTVL] * options[socket.TCP_KEEPCNT]
    assert asked_s == 30
    assert options[socket.TCP_USER_TIMEOUT] == 30_000


def test_other_systems_keep_their_own_times() -> None:
    assert keepalive("darwin") == [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
