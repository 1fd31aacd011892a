"""The `server-timing` header: where the time of an answer went until it began.

Source: W3C Server Timing; durations are milliseconds.
"""

from gateway.proxy.story import Story
from gateway.telemetry.told_story import parts_of
from gateway.wire.http import Headers


def server_timing(story: Story, now_s: float, *, stream: bool) -> Headers:
    """The header as it is now; nothing where the caller's plan does not show it."""
    if not story.shows_timing:
        return ()
    duration_ms = (now_s - story.received_s) * 1000
    told = story.told(now_s)
    parts = parts_of(told, stream=stream, duration_ms=duration_ms)
    entries = [("queue", parts.queue_ms), ("route", parts.route_ms)]
    if parts.retries_ms:
        entries.append(("retries", parts.retries_ms))
    if told.tries:
        entries.append(("connect", parts.connect_ms))
    if any(one.first_token_ms is not None for one in told.tries):
        entries.append(("first_token", parts.first_token_ms or 0.0))
    if parts.answer_ms is not None:
        entries.append(("answer", parts.answer_ms))
    value = ", ".join(f"{name};dur={ms:g}" for name, ms in entries)
    return ((b"server-timing", value.encode()),)
