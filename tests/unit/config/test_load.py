from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.load import MAX_BYTES, load_document, read_document
from gateway.errors import ConfigInvalid

MODEL = "models: [{name: m, engine: vllm, url: http://h}]"


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigInvalid) as invalid:
        read_document(text)
    return invalid.value.problems


def problems_of(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigInvalid) as invalid:
        load_document(path)
    return invalid.value.problems


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(MODEL)
    assert load_document(file).models[0].name == "m"


def test_a_byte_order_mark_is_nothing(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(MODEL, encoding="utf-8-sig")
    assert load_document(file).models[0].name == "m"


def test_an_absent_file_is_named_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "Gateway.YAML"
    assert problems_of(file) == (f"{file}: no such file or directory",)


def test_an_error_without_words_still_has_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(Path, "open", broken)
    assert problems_of(tmp_path) == (f"{tmp_path}: cannot be read",)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert problems_of(tmp_path) == (f"{tmp_path}: is a directory",)


def test_a_binary_file_is_told_where_it_stops_being_text(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_bytes(b"ok\xff")
    assert problems_of(file) == (f"{file}: not valid UTF-8 at byte 2",)


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    with file.open("wb") as sparse:
        sparse.truncate(MAX_BYTES + 1)
    assert problems_of(file) == (f"{file}: larger than 4 MiB",)


def test_a_device_without_an_end_is_not_read_for_ever() -> None:
    assert problems_of(Path("/dev/zero")) == ("/dev/zero: larger than 4 MiB",)


@pytest.mark.parametrize("text", ["", "# nothing", "[]", "models", "5", "null"])
def test_what_is_no_mapping_says_how_to_begin(text: str) -> None:
    assert problems(text) == ("the file must hold a mapping that begins with `models:`",)


def test_a_mistake_of_yaml_has_its_place() -> None:
    assert problems("models: [}") == (
        "line 1, column 10: expected the node content, but found '}'",
    )


@pytest.mark.parametrize("text", ["models: [\x01]", "models: [2001-99-99]", "a: " + "[" * 1000])
def test_yaml_that_cannot_be_read_at_all(text: str) -> None:
    assert problems(text) == ("the file is not valid YAML",)


def test_a_key_given_twice_is_an_error() -> None:
    assert problems(f"{MODEL}\nretries: {{}}\nretries: {{}}") == (
        'line 3, column 1: the key "retries" is given twice',
    )


def test_a_key_that_is_no_text_is_an_error() -> None:
    assert problems("models: [{1: 2}]") == ("line 1, column 11: the key 1 must be text",)


def test_python_objects_are_not_made() -> None:
    assert "could not determine a constructor" in problems("models: !!python/name:os.system")[0]


def test_merge_keys_cannot_be_used() -> None:
    assert problems("models: [&a {name: m}, {<<: *a}]") == (
        "line 1, column 25: merge keys (<<) cannot be used",
    )


def test_anchors_can_be_used() -> None:
    document = read_document(
        """\
models:
  - {name: a, engine: vllm, url: http://a, timeouts: &slow {total_s: 3600}}
  - {name: b, engine: vllm, url: http://b, timeouts: *slow}
"""
    )
    assert document.models[1].timeouts.total_s == 3600


def test_so_many_aliases_are_an_attack() -> None:
    assert problems("a: &a [x]\nb: [" + "*a, " * 101 + "]") == ("too many aliases",)


def test_a_list_that_holds_itself_is_only_wrong() -> None:
    assert problems("models: &a [*a]") == ("models[0]: must be a mapping",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("models: []", "models: must not be empty"),
        ("models: {a: b}", "models: must be a list"),
        ("models: [m]", "models[0]: must be a mapping"),
        ("plans: []", "models: required"),
        (f"{MODEL}\nretries: 3", "retries: must be a mapping"),
        (f"{MODEL}\nretries: {{max_attempts: 99}}", "retries.max_attempts: must be less than or"),
        (f"{MODEL}\nlimits: {{store: redis}}", "limits: the store redis needs redis_url"),
        (f"{MODEL}\nkeys: [{{name: ''}}]", "keys[0].name: must not be empty"),
        (f"{MODEL}\nkeys: [{{name: a b}}]", "keys[0].name: must match pattern"),
    ],
)
def test_a_problem_is_one_line_with_its_path(text: str, problem: str) -> None:
    assert problems(text)[0].startswith(problem)


def test_a_message_that_is_no_rule_is_kept() -> None:
    text = f"{MODEL}\nkeys: [{{name: k, sha256: a, secret: {{value: b, from_file: [x]}}}}]"
    assert "keys[0].secret.from_file: must be" not in problems(text)[0]
    assert problems(text)[0].startswith("keys[0].secret.from_file: ")


def test_an_unknown_key_names_what_is_near() -> None:
    assert problems(f"{MODEL}\nretrys: {{}}") == ('retrys: unknown key; did you mean "retries"?',)


def test_an_unknown_key_near_nothing_names_what_is_known() -> None:
    assert problems(f"{MODEL}\ncors: {{zzz: 1}}") == (
        "cors.zzz: unknown key; known here: allow_origins",
    )


def test_an_unknown_key_of_a_model_may_be_one_of_the_short_form() -> None:
    text = "models: [{name: m, engine: vllm, urls: http://h}]"
    assert problems(text)[-1] == 'models[0].urls: unknown key; did you mean "url"?'


def test_an_unknown_key_deep_inside_knows_its_section() -> None:
    text = MODEL.replace("http://h", "http://h, api_key: {from_evn: A, value: b}")
    assert problems(text) == ('models[0].api_key.from_evn: unknown key; did you mean "from_env"?',)


def test_keys_of_the_short_form_beside_variants_are_told_where_they_belong() -> None:
    text = (
        "models: [{name: m, engine: vllm, variants: [{engine: vllm, replicas: [{url: http://h}]}]}]"
    )
    assert problems(text) == (
        "models[0].engine: belongs to each of the variants, once they are given",
    )


@pytest.mark.parametrize(
    ("short", "problem"),
    [
        ("{name: m, engine: vllm}", "models[0].url: required"),
        ("{name: m, url: http://h}", "models[0].engine: required"),
        ("{name: m, engine: vllm, url: 5}", "models[0].url: must be a valid string"),
        ("{name: m, engine: vllm, replicas: []}", "models[0].replicas: must not be empty"),
        ("{name: m, engine: vllm, replicas: [{}]}", "models[0].replicas[0].url: required"),
        ("{name: m, engine: vllm, url: h, tls: 5}", "models[0].url: must be http://HOST"),
    ],
)
def test_a_problem_of_the_short_form_is_told_in_its_words(short: str, problem: str) -> None:
    assert problems(f"models: [{short}]")[0].startswith(problem)


def test_a_problem_of_the_full_form_names_the_variant() -> None:
    text = "models: [{name: m, variants: [{engine: vllm, replicas: [{url: h}]}]}]"
    assert problems(text)[0].startswith("models[0].variants[0].replicas[0].url: must be http")


def test_every_problem_is_told_at_once() -> None:
    text = """\
models:
  - {name: a, engine: vlm, url: http://a}
  - {name: b, engine: vllm, url: http://b, polcy: x}
retries: {max_attempts: many}
"""
    assert [problem.partition(":")[0] for problem in problems(text)] == [
        "models[0].engine",
        "models[1].polcy",
        "retries.max_attempts",
    ]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["models", "name", "engine", "url", "variants", "replicas", "keys", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def told(text: str) -> tuple[str, ...] | None:
    """The problems of a text; None when it is a configuration. Any other failure escapes."""
    try:
        read_document(text)
    except ConfigInvalid as invalid:
        return invalid.problems
    return None


@given(st.dictionaries(st.sampled_from(["models", "plans", "keys", "cors"]), _VALUES))
def test_whatever_the_shape_the_only_failure_is_a_list_of_problems(shape: object) -> None:
    problems = told(yaml.safe_dump(shape))
    assert problems is None or all(len(problem.splitlines()) == 1 for problem in problems)
    assert problems != ()


@given(st.text(max_size=80))
def test_whatever_the_text_the_only_failure_is_a_list_of_problems(text: str) -> None:
    assert told(text) != ()
