from gateway.config.access import RATES, Rates
from gateway.limits.bucket import Measure, Scope
from gateway.limits.rules import RULES, buckets_for


def test_every_limit_of_the_configuration_has_a_rule() -> None:
    assert list(RULES) == list(RATES)


def test_a_bucket_for_each_number_that_is_given() -> None:
    rates = Rates.model_validate(
        {
            "requests_per_hour": 600,
            "tokens_per_day": 1000,
            "concurrent_requests": 3,
            "burst": {"tokens_per_day": 100},
        }
    )
    hour, day, slots = buckets_for(Scope.MODEL, "m", rates)
    assert (hour.key, hour.limit, hour.period_s, hour.burst) == (
        "model/m/requests_per_hour",
        600,
        3600,
        600,
    )
    assert (day.measure, day.limit, day.period_s, day.burst) == (Measure.TOKENS, 1000, 86400, 100)
    assert (slots.measure, slots.limit, slots.is_slots) == (Measure.CONCURRENT, 3, True)


def test_no_limits_are_no_buckets() -> None:
    assert buckets_for(Scope.KEY, "k", Rates()) == ()
