"""Replicas as routing policies see them, drawn by Hypothesis."""

from hypothesis import strategies as st

from gateway.wire.prefix import Prefix
from tests.support.configs import AView

_counts = st.integers(0, 50)
_hashes = st.integers(1, 12)  # few, so that some are known


def views(min_size: int = 1, max_size: int = 8) -> st.SearchStrategy[list[AView]]:
    """Some replicas, each with another name."""
    return st.lists(
        st.builds(
            AView,
            name=st.uuids().map(str),
            weight=st.sampled_from([0.5, 1.0, 2.0, 3.0]),
            in_flight=_counts,
            load=_counts.map(float),
            turns=_counts.map(float),
            kv_cache_used_ratio=st.none() | st.floats(0, 1),
            prefilling=_counts.map(float),
            sent=_counts.map(float),
            is_shared=st.booleans(),
            seed=st.integers(0, 2**64 - 1),
            knows=st.lists(_hashes, max_size=12).map(tuple),
        ),
        min_size=min_size,
        max_size=max_size,
        unique_by=lambda view: view.name,
    )


def prefixes() -> st.SearchStrategy[Prefix]:
    """What prompts begin with; blocks that replicas may know."""
    return st.builds(
        Prefix,
        blocks=st.lists(_hashes, max_size=10, unique=True).map(tuple),
        shared_key=st.integers(0, 12),
        shared_blocks=st.integers(0, 4),
        own_key=_hashes,
        past_blocks=st.integers(0, 12),
        has_session=st.booleans(),
    )
