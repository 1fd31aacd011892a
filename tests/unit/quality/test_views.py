from gateway.quality.views import Views, read_on, shared_views
from tests.support.compared import along

A = along("a", "b", "c", "d")


def test_what_was_written_alike_is_shared_and_so_is_the_first_difference() -> None:
    views = shared_views(A, along("a", "x", "y"))
    assert (len(views.a), len(views.b), views.differs_at) == (4, 2, 1)
    same = shared_views(A, A)
    assert (len(same.b), same.differs_at) == (4, None)


def test_from_there_on_both_read() -> None:
    shared = shared_views(A, along("x"))
    read_b = along("b", "c", "d", share=0.6)
    views = read_on(shared, along("b", "c", "d", share=0.85), read_b)
    assert views.b[1:] == read_b
    assert views.a[1].top == along("b", share=0.85)[0].top
    assert views.a[0] is A[0]


def test_a_place_where_a_does_not_think_what_it_thought_is_left_out() -> None:
    shared = shared_views(A, along("x"))
    views = read_on(shared, (along("b")[0], along("z")[0], None), along("b", "c", "d"))
    assert [one is None for one in views.b] == [False, False, True, True]
    assert views.a == A


def test_nothing_read_is_nothing_more() -> None:
    shared = shared_views(A, along("x"))
    assert read_on(shared, (), ()) == shared
    assert Views() == Views((), (), None)
