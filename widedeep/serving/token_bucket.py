"""A limit on how often each client may ask (token bucket)."""

from collections import OrderedDict

_MOST_CLIENTS = 10_000


class TokenBuckets:
    """Each client has a bucket of `burst` tokens that fills by `per_second`; asking takes one."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now: float) -> float:
        """Seconds until the client may ask again; 0 if it may now.

        Args:
            client: Whoever asks.
            now: Seconds of a clock that never goes back.
        """
        tokens, then = self._held.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._per_second)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._per_second
        self._held[client] = (tokens - 1 if wait == 0.0 else tokens, now)
        if len(self._held) > _MOST_CLIENTS:
            self._held.popitem(last=False)
        return wait
