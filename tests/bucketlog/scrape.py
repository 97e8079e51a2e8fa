"""What `/-/metrics` answered, to be asked by name."""

from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    def __init__(self, text: str) -> None:
        self._samples = [each for family in text_string_to_metric_families(text) for each in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        """Of all samples with these labels; fails where there is none."""
        found = [each.value for each in self._samples if each.name == name and labels.items() <= each.labels.items()]
        assert found, name
        return sum(found)

    def has(self, name: str) -> bool:
        return any(each.name == name for each in self._samples)
