import socket

import pytest

from octoroute_py.core.errors import ConfigError
from octoroute_py.edge.server import CannotListen, bind


def close(listeners: list[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


def test_port_0_picks_one_free_port_for_all_addresses_of_a_name() -> None:
    listeners = bind("localhost", 0)
    try:
        ports = {listener.getsockname()[1] for listener in listeners}
        assert len(ports) == 1
        assert 0 not in ports
    finally:
        close(listeners)


def test_a_port_that_is_taken_is_told_with_its_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"cannot listen on 127\.0\.0\.1 port {port}: Address already in use"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.7", "not an address"])
def test_an_address_that_is_not_ours_is_told(host: str) -> None:
    with pytest.raises((ConfigError, CannotListen), match=host):
        bind(host, 0)


def test_listeners_do_not_block_the_event_loop() -> None:
    listeners = bind("127.0.0.1", 0)
    try:
        assert [listener.getblocking() for listener in listeners] == [False]
    finally:
        close(listeners)
