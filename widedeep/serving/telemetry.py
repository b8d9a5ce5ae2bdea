"""The metrics of one server in Prometheus's text format; all times are in seconds."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)


class Telemetry:
    """The counters and histograms of one server, in a registry of their own.

    Attributes:
        ranking: Time to retrieve, score and sort candidates; use `ranking.time()`.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "widedeep_requests",
            "Requests answered",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._latency = Histogram(
            "widedeep_request_seconds",
            "Time from a request to its answer",
            ("route",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.ranking = self._histogram("ranking", "Retrieving, scoring and sorting candidates")
        self._flush = self._histogram("flush", "Writing and flushing feedback to the disk")
        self._ratings = Counter(
            "widedeep_ratings", "Ratings acknowledged", ("kind",), registry=self._registry
        )
        self._swaps = Counter(
            "widedeep_swaps", "Versions put into service", registry=self._registry
        )
        self._refused = Counter("widedeep_refused", "Versions refused", registry=self._registry)
        self._model = Gauge(
            "widedeep_model_info",
            "The version that serves",
            ("model", "version"),
            registry=self._registry,
        )

    def count_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request and the time it took; `route` is a path template."""
        self._requests.labels(route, method, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def count_flush(self, seconds: float, new: int, superseded: int) -> None:
        """Count the ratings that one flush brought to the disk, and the time it took."""
        self._flush.observe(seconds)
        self._ratings.labels("new").inc(new)
        self._ratings.labels("superseded").inc(superseded)

    def count_swap(self, model: str, version: str) -> None:
        """Count a version that serves from now on and name it as the current one."""
        self._swaps.inc()
        self._model.clear()
        self._model.labels(model, version).set(1)

    def count_refusal(self) -> None:
        """Count a version that could not be put into service."""
        self._refused.inc()

    def to_text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)

    def _histogram(self, name: str, about: str) -> Histogram:
        return Histogram(
            f"widedeep_{name}_seconds", about, buckets=_BUCKETS, registry=self._registry
        )
