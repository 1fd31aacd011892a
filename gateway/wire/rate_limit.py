"""OpenAI's rate-limit headers. Pure.

`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`; the reset is a duration as Go prints it:
when the limit will be whole again.

Source: OpenAI's guide "Rate limits", section "Rate limits in headers"; Go, `time.Duration.String`.
"""

import math

from gateway.wire.http import Headers


def request_limit_headers(limit: int, remaining: int, reset_us: float) -> Headers:
    """The three headers for requests."""
    return (
        (b"x-ratelimit-limit-requests", b"%d" % limit),
        (b"x-ratelimit-remaining-requests", b"%d" % remaining),
        (b"x-ratelimit-reset-requests", go_duration(reset_us / 1e6)),
    )


def token_limit_headers(limit: int, remaining: int, reset_us: float) -> Headers:
    """The three headers for tokens."""
    return (
        (b"x-ratelimit-limit-tokens", b"%d" % limit),
        (b"x-ratelimit-remaining-tokens", b"%d" % remaining),
        (b"x-ratelimit-reset-tokens", go_duration(reset_us / 1e6)),
    )


def go_duration(seconds: float) -> bytes:
    """Rounded up to milliseconds: `0s`, `120ms`, `1.5s`, `6m0s`, `1h2m3s`."""
    ms = max(0, math.ceil(seconds * 1000 - 1e-6))
    if ms < 1000:
        return b"%dms" % ms if ms else b"0s"
    whole_s, ms = divmod(ms, 1000)
    minutes, whole_s = divmod(whole_s, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = (b".%03d" % ms).rstrip(b"0") if ms else b""
    text = b"%d%bs" % (whole_s, fraction)
    if hours:
        return b"%dh%dm%b" % (hours, minutes, text)
    return b"%dm%b" % (minutes, text) if minutes else text
