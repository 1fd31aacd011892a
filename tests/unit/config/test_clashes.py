from typing import Any

import pytest

from gateway.config.clashes import clashes


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        (
            {"models": [{"name": "a"}, {"name": "b", "aliases": ["c", "a"]}, {"name": "c"}]},
            [
                'models[1].aliases[1]: "a" is ambiguous, it is also models[0].name',
                'models[2].name: "c" is ambiguous, it is also models[1].aliases[0]',
            ],
        ),
        (
            {"plans": [{"name": "p"}, {"name": "p"}], "keys": [{"name": "k"}, {"name": "k"}]},
            [
                'plans[1].name: the plan "p" is there already',
                'keys[1].name: the key "k" is there already',
            ],
        ),
        (
            {"models": [{"name": "a", "fallbacks": ["b", "a"]}]},
            ['models[0].fallbacks[0]: "b" is no model'],
        ),
        (
            {"keys": [{"name": "k", "plan": "gold"}, {"name": "l", "plan": "default"}]},
            ['keys[0].plan: "gold" is no plan'],
        ),
        (
            {
                "models": [
                    {"name": "a", "adapters": [{"name": "b"}, {"name": "b"}]},
                    {"name": "b"},
                    {"name": "c", "variants": [{"adapters": [{"name": "a"}]}, {"adapters": 7}]},
                ]
            },
            [
                'models[1].name: "b" is ambiguous, it is also models[0].adapters[0].name',
                'models[2].variants[0].adapters[0].name: "a" is ambiguous, it is also '
                "models[0].name",
            ],
        ),
        ({"plans": [{"name": "gold"}], "keys": [{"name": "k", "plan": "gold"}]}, []),
    ],
)
def test_names_and_references_are_checked(given: dict[str, Any], problems: list[str]) -> None:
    assert list(clashes(given)) == problems


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"models": None, "plans": 7, "keys": "k"},
        {"models": [None, "a", {}, {"name": 7, "aliases": "a", "fallbacks": "a"}]},
        {"models": [{"name": "a", "aliases": [1, None], "fallbacks": [{}, 2]}]},
        {"plans": [{"name": None}, {}], "keys": [{"plan": 3}, {"name": []}]},
    ],
)
def test_what_has_another_shape_is_passed_over(given: dict[str, Any]) -> None:
    assert list(clashes(given)) == []
