"""What Faust is given of the operator's settings. The rest of the app is tested on a broker."""

import pytest

from processors.faust_app import addresses


def test_addresses_are_those_of_librdkafka() -> None:
    assert addresses("a:9092, SASL_SSL://b:9093,[::1]:9092,c") == ["a:9092", "b:9093", "[::1]:9092", "c"]


@pytest.mark.parametrize("bootstrap", ["a:9092,", "a:port", "a:9092 b:9092"])
def test_what_is_no_address_is_refused(bootstrap: str) -> None:
    with pytest.raises(ValueError, match="port"):
        addresses(bootstrap)
