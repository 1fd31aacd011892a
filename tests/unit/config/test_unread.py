from gateway.config.load import read_document
from gateway.config.unread import without_secrets

WRITTEN = """
models: [{name: m, engine: vllm, url: http://a, api_key: {from_env: ENGINE},
    tls: {ca_file: /nowhere}, policy: round-robin}]
plans: [{name: default, requests_per_minute: 3}]
keys:
  - {name: one, secret: {from_env: ONE}, limits: {requests_per_minute: null}}
  - {name: two, secret: {from_file: /nowhere}}
  - {name: three, sha256: %s}
limits: {store: redis, redis_url: {from_env: REDIS}, key_prefix: mine}
""" % ("0f" * 32)


def test_no_secret_is_left_to_look_for() -> None:
    unread = without_secrets(read_document(WRITTEN))
    assert unread.models[0].variants[0].api_key is None
    assert unread.models[0].variants[0].tls.ca_file is None
    assert unread.limits.store == "memory"
    assert unread.limits.redis_url is None
    assert unread.keys is not None
    assert [key.secret for key in unread.keys] == [None, None, None]
    assert len({key.sha256 for key in unread.keys}) == 3
    assert unread.keys[2].sha256 == "0f" * 32


def test_everything_else_stays() -> None:
    written = read_document(WRITTEN)
    unread = without_secrets(written)
    assert unread.plans == written.plans
    assert unread.models[0].policy == "round-robin"
    assert unread.limits.key_prefix == "mine"
    assert unread.keys is not None
    assert unread.keys[0].limits.model_fields_set == {"requests_per_minute"}


def test_no_keys_stay_no_keys() -> None:
    written = read_document("models: [{name: m, engine: vllm, url: http://a}]")
    assert without_secrets(written) == written
