"""What a server tells Prometheus; seconds everywhere."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_FAST = (0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)


class Telemetry:
    """The counters and histograms of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "widedeep_requests", "Answers", ("route", "method", "status"), registry=self._registry
        )
        self._latency = Histogram(
            "widedeep_request_seconds",
            "From a request to its answer",
            ("route",),
            buckets=_FAST,
            registry=self._registry,
        )
        self.ranking = self._histogram("ranking", "Retrieving, scoring and sorting candidates")
        self._flush = self._histogram("flush", "Writing and flushing ratings to the disk")
        self._ratings = Counter(
            "widedeep_ratings", "Ratings acknowledged", ("kind",), registry=self._registry
        )
        self._swaps = Counter("widedeep_swaps", "Versions put in place", registry=self._registry)
        self._refused = Counter("widedeep_refused", "Versions refused", registry=self._registry)
        self._model = Gauge(
            "widedeep_model_info",
            "The version that serves",
            ("model", "version"),
            registry=self._registry,
        )

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, method, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def flushed(self, seconds: float, news: int, superseded: int) -> None:
        """Ratings reached the disk."""
        self._flush.observe(seconds)
        self._ratings.labels("new").inc(news)
        self._ratings.labels("superseded").inc(superseded)

    def swapped(self, model: str, version: str) -> None:
        """A version serves from now on."""
        self._swaps.inc()
        self._model.clear()
        self._model.labels(model, version).set(1)

    def refused(self) -> None:
        """A version was refused."""
        self._refused.inc()

    def text(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self._registry)

    def _histogram(self, name: str, about: str) -> Histogram:
        return Histogram(f"widedeep_{name}_seconds", about, buckets=_FAST, registry=self._registry)
