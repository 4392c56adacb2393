"""What Prometheus reads of the service."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

PREFIX = "recbole_diffusion"
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of one service, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = all_of = CollectorRegistry()
        self.requests = Counter(
            f"{PREFIX}_requests", "Answers", ["path", "status"], registry=all_of
        )
        self.seconds = Histogram(
            f"{PREFIX}_request_seconds",
            "From the head of a request to its answer",
            ["path"],
            buckets=SECONDS,
            registry=all_of,
        )
        self.under_way = Gauge(
            f"{PREFIX}_requests_under_way", "That take one of max_requests", registry=all_of
        )
        self.lists = Counter(f"{PREFIX}_lists", "Lists that were made", ["model"], registry=all_of)
        self.unknown = Counter(
            f"{PREFIX}_unknown_ids", "Ids not in the data", ["model", "kind"], registry=all_of
        )
        self.reloads = Counter(
            f"{PREFIX}_reloads", "Folders that were newer", ["model", "result"], registry=all_of
        )
        self.loaded = Gauge(
            f"{PREFIX}_loaded_seconds", "When, since 1970", ["model"], registry=all_of
        )

    def text(self) -> bytes:
        """All of them in Prometheus' format."""
        return generate_latest(self._registry)
