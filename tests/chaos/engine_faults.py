"""Everything that can be wrong with an engine, one fault after the other."""

from collections.abc import Iterator

from tests.chaos.fault import Ends, EngineFault
from tests.chaos.faults_before_content import UNREACHABLE, before_headers, bodies, final
from tests.chaos.faults_in_streams import harmless, in_the_middle
from tests.chaos.places import (
    a_host_without_address,
    a_plain_port_where_tls_is_due,
    an_expired_certificate,
    an_unknown_authority,
    nobody_listens,
    nobody_takes_connections,
    the_wrong_host,
)


def _nowhere() -> Iterator[EngineFault]:
    for number, name, at in (
        ("E1", "refuses connections", nobody_listens),
        ("E2", "never takes a connection", nobody_takes_connections),
        ("E27", "has a certificate of an unknown authority", an_unknown_authority),
        ("E27", "has the certificate of another host", the_wrong_host),
        ("E27", "has a certificate that has expired", an_expired_certificate),
        ("E27", "speaks no TLS", a_plain_port_where_tls_is_due),
        ("E28", "has a name without an address", a_host_without_address),
    ):
        yield EngineFault(
            number, name, Ends.AVOIDED, code=UNREACHABLE, at=at, timeouts={"connect_s": 0.5}
        )


ENGINE_FAULTS: tuple[EngineFault, ...] = (
    *_nowhere(),
    *before_headers(),
    *bodies(),
    *in_the_middle(),
    *harmless(),
    *final(),
)
