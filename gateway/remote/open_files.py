"""How many connections this process may have: each takes an open file."""

import sys

_OTHERS = 64
_ENOUGH = 65536

if sys.platform == "win32":  # pragma: no cover - which has no such limit

    def allow_open_files() -> int:
        """As many connections as anybody wants."""
        return _ENOUGH

else:
    import resource

    def allow_open_files() -> int:
        """Raise the soft limit to the hard one, and say how many connections that leaves."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _ENOUGH + _OTHERS
        wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        return _ENOUGH if soft == resource.RLIM_INFINITY else max(1, min(_ENOUGH, soft - _OTHERS))
