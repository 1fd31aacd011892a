"""Replicas as routing policies see them, drawn by Hypothesis."""

from hypothesis import strategies as st

from tests.support.configs import AView

_counts = st.integers(0, 50)


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
        ),
        min_size=min_size,
        max_size=max_size,
        unique_by=lambda view: view.name,
    )
