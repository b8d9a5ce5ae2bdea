"""Load as users make it: requests begin when they are due, whether or not others were answered.

    python -m tests.benchmarks.open_loop URL RATE SECONDS CONNECTIONS < users_and_items.json

Prints one JSON object: seconds from when a request was due to its answer, and the failures. SIGTERM
ends it earlier. A process of its own, so that the client's work is not the server's.
"""

import asyncio
import json
import random
import signal
import sys
import time
from urllib.parse import urlsplit

CANDIDATES = 200


def request_of(world, host, generator):
    """A POST /rank as bytes."""
    user = generator.choice(world["users"])
    asked = {"user": user, "candidates": generator.sample(world["items"], CANDIDATES), "k": 10}
    body = json.dumps(asked).encode()
    head = f"POST /rank HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def answer(reader):
    """Read one answer; its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    lengths = [line.split(":")[1] for line in lines if line.lower().startswith("content-length")]
    await reader.readexactly(int(lengths[0]))
    return int(lines[0].split()[1])


async def connection(url, due, measured, failures):
    """Send what is due, one after another, over one connection."""
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    while (one := await due.get()) is not None:
        moment, request = one
        try:
            writer.write(request)
            status = await answer(reader)
        except (OSError, asyncio.IncompleteReadError) as error:
            failures.append(repr(error))
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
            continue
        measured.append(time.perf_counter() - moment)
        if status != 200:
            failures.append(status)
    writer.close()


async def run(url, rate, seconds, connections, world):
    """All of it."""
    generator, due = random.Random(0), asyncio.Queue()  # noqa: S311
    requests = [request_of(world, url.netloc, generator) for _ in range(500)]
    measured, failures, stopped = [], [], asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    tasks = [
        asyncio.create_task(connection(url, due, measured, failures)) for _ in range(connections)
    ]
    loop = asyncio.get_running_loop()

    def tick():
        """In a thread, which wakes in time: the loop itself would sleep for whole milliseconds."""
        begun = time.perf_counter() + 0.1
        for number in range(int(rate * seconds)):
            moment = begun + number / rate
            time.sleep(max(moment - time.perf_counter(), 0))
            if stopped.is_set():
                break
            one = (moment, requests[number % len(requests)])
            loop.call_soon_threadsafe(due.put_nowait, one)

    await asyncio.to_thread(tick)
    for _ in tasks:
        due.put_nowait(None)
    await asyncio.gather(*tasks)
    return {"seconds": measured, "failures": failures}


if __name__ == "__main__":
    address, rate, seconds, connections = sys.argv[1:]
    found = run(
        urlsplit(address), float(rate), float(seconds), int(connections), json.load(sys.stdin)
    )
    print(json.dumps(asyncio.run(found)))
