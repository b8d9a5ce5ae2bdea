"""A download is complete and verified, or leaves nothing, and fails soon."""

import gzip
import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from widedeep.data.download import (
    COMMIT,
    RELEASES,
    DownloadError,
    Release,
    RemoteFile,
    Timeouts,
    download,
    git_blob_id,
)
from widedeep.inputs import InputError

META = ("movies.txt", "genres.csv", "countries.csv", "castings.csv", "peoples.txt")
CONTENT = {
    "rates.csv": b"user,movie,rate,time\n0,10003,7,1494128040\n" * 5_000,
    "movies.txt": "movie\ttitle\ttitle_eng\tyear\tgrade\n10001\t시네마 천국\t\t\t\n".encode(),
    "genres.csv": "movie,genre\n10001,드라마\n".encode(),
    "countries.csv": "movie,country\n10001,이탈리아\n".encode(),
    "castings.csv": b"movie,people,order,leading\n10001,4374,1,1\n",
    "peoples.txt": "people\tkorean\toriginal\n5\t아담 볼드윈\tAdam Baldwin\n".encode(),
}
SOON = Timeouts(connect=1.0, read=1.0)


@dataclass
class Site:
    """The files of a web server, and how it misbehaves."""

    files: dict[str, bytes]
    url: str = ""
    requested: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    cut_after: dict[str, int] = field(default_factory=dict)
    stall_after: dict[str, int] = field(default_factory=dict)
    declares_length: bool = True
    compresses: bool = False
    seconds_a_file: float = 0.0
    stalled: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        site = self.server.site
        path = self.path.removeprefix("/data/")
        site.requested.append(path)
        site.agents.append(self.headers["User-Agent"])
        time.sleep(site.seconds_a_file)
        if path not in site.files:
            self.send_error(404)
        else:
            self._send(site, path, site.files[path])

    def _send(self, site, path, body):
        self.send_response(200)
        if site.compresses and "gzip" in self.headers["Accept-Encoding"]:
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        if site.declares_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.close_connection = path in site.cut_after or not site.declares_length
        self.wfile.write(body[: site.cut_after.get(path, site.stall_after.get(path))])
        if path in site.stall_after:
            self.wfile.flush()
            site.stalled.set()
            site.closing.wait(20)
            self.close_connection = True

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing it waits until no socket is open

    def handle_error(self, *_):
        pass  # a client that was killed


@contextmanager
def serve(**site):
    site = Site(**site)
    with Server(("127.0.0.1", 0), Handler) as server:
        server.site = site
        site.url = f"http://127.0.0.1:{server.server_port}/data"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield site
        finally:
            site.closing.set()
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "home" / "data" / "tiny"


def blob_id(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324


def plain_site():
    return {f"tiny/{name}": content for name, content in CONTENT.items()}


def plain_release(url):
    files = (RemoteFile(path, blob_id(content)) for path, content in plain_site().items())
    return {"tiny": Release(url, tuple(files))}


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return buffer.getvalue()


def zip_site(folder="", without=(), more=()):
    meta = {folder + name: CONTENT[name] for name in META if name not in without}
    return {
        "kmrd/meta.zip": zipped(meta | dict(more)),
        "kmrd/rates-2m.zip": zipped({f"{folder}rates-2m.csv": CONTENT["rates.csv"]}),
    }


def zip_release(url, site):
    """Return the real release of KMRD-2m, with the ids of this site's files."""
    files = RELEASES["kmrd-2m"].files
    files = tuple(RemoteFile(file.path, blob_id(site[file.path]), file.members) for file in files)
    return {"kmrd-2m": Release(url, files)}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def traces(target):
    """Return the names beside the target, except for the lock."""
    return [path.name for path in target.parent.iterdir() if path.suffix != ".lock"]


def refused(target, releases, name="tiny", timeouts=SOON):
    """Return the message of a download that must fail and leave nothing behind."""
    with pytest.raises(DownloadError) as failure:
        download(name, target, releases=releases, timeouts=timeouts)
    assert traces(target) == []
    assert "\n" not in str(failure.value)
    return str(failure.value)


def test_a_download_brings_the_six_files_byte_for_byte(target):
    with serve(files=plain_site()) as site:
        assert download("tiny", target, releases=plain_release(site.url)) == target
    assert contents(target) == CONTENT
    assert traces(target) == ["tiny"]
    assert set(site.agents) == {"widedeep"}


def test_a_compressed_answer_is_the_same_file(target):
    with serve(files=plain_site(), compresses=True) as site:
        download("tiny", target, releases=plain_release(site.url))
    assert contents(target) == CONTENT


def test_an_existing_target_is_returned_without_network_and_untouched(target):
    target.mkdir(parents=True)
    for name in CONTENT:
        (target / name).write_bytes(b"mine")
    with serve(files=plain_site()) as site:
        assert download("tiny", target, releases=plain_release(site.url)) == target
    assert site.requested == []
    assert contents(target) == dict.fromkeys(CONTENT, b"mine")


def test_an_existing_target_that_lacks_a_file_is_named_and_left_alone(target):
    target.mkdir(parents=True)
    for name in CONTENT.keys() - {"rates.csv"}:
        (target / name).write_bytes(b"mine")
    releases = plain_release("http://127.0.0.1:1")
    with pytest.raises(InputError, match=rf"{target}: rates.csv missing; remove the folder"):
        download("tiny", target, releases=releases)
    assert contents(target) == dict.fromkeys(CONTENT.keys() - {"rates.csv"}, b"mine")


def test_an_unknown_data_set_is_the_users_error(target):
    with pytest.raises(
        InputError, match=r"unknown data set 'kmrd-3m'; expected one of kmrd-small, "
    ):
        download("kmrd-3m", target)


@pytest.mark.parametrize("broken", list(CONTENT))
def test_any_file_with_other_content_is_refused_by_name_and_ids(target, broken):
    files = plain_site()
    files[f"tiny/{broken}"] = other = CONTENT[broken].replace(b"1", b"2") + b"\n"
    with serve(files=files) as site:
        message = refused(target, plain_release(site.url))
    assert f"{site.url}/tiny/{broken}" in message
    assert f"has git id {blob_id(other)}, expected {blob_id(CONTENT[broken])}" in message


def test_a_damaged_zip_is_refused_before_it_is_opened(target):
    files = zip_site()
    releases = zip_release("", files)
    files["kmrd/rates-2m.zip"] += b"\0"
    with serve(files=files) as site:
        releases = {"kmrd-2m": Release(site.url, releases["kmrd-2m"].files)}
        assert "has git id" in refused(target, releases, "kmrd-2m")


def test_a_missing_file_is_refused_with_its_url_and_status(target):
    files = plain_site()
    del files["tiny/peoples.txt"]
    with serve(files=files) as site:
        message = refused(target, plain_release(site.url))
    assert message == f"{site.url}/tiny/peoples.txt could not be downloaded: HTTP 404 Not Found"


def test_a_redirection_to_a_log_in_page_is_no_data(target):
    class Portal(Handler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", "/log-in")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serve(files={}) as site, Server(("127.0.0.1", 0), Portal) as portal:
        portal.site = site
        thread = threading.Thread(target=portal.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        message = refused(target, plain_release(f"http://127.0.0.1:{portal.server_port}"))
        portal.shutdown()
        thread.join()
    assert message.endswith("HTTP 302 Found")


def test_a_refused_connection_gives_up_at_once(target):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        start = time.monotonic()
        message = refused(target, plain_release(url), timeouts=Timeouts())
    assert time.monotonic() - start < 2
    assert message.startswith(f"{url}/tiny/rates.csv could not be downloaded: ")
    assert "refused" in message


def test_a_host_without_an_address_gives_up(target):
    start = time.monotonic()
    message = refused(target, plain_release("http://no-such-host.invalid"))
    assert time.monotonic() - start < 4
    assert message.startswith("http://no-such-host.invalid/tiny/rates.csv could not be downloaded")


def test_a_host_that_drops_packets_is_given_up_after_the_timeout(target):
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):  # the queue is full, so Linux drops the next connection
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        start = time.monotonic()
        refused(target, plain_release(url), timeouts=Timeouts(connect=0.3, read=0.3))
    assert time.monotonic() - start < 2


def test_a_silent_name_server_is_given_up_after_the_timeout(target, monkeypatch):
    released = threading.Event()

    def look_up(*_, **__):
        released.wait(5)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    start = time.monotonic()
    message = refused(target, plain_release("http://data.invalid"), timeouts=Timeouts(0.1, 0.1))
    assert time.monotonic() - start < 2
    assert message.endswith("could not be downloaded: no connection within 0.2 s")
    released.set()


def test_a_server_that_falls_silent_is_given_up(target):
    with serve(files=plain_site(), stall_after={"tiny/rates.csv": 1_000}) as site:
        start = time.monotonic()
        message = refused(target, plain_release(site.url), timeouts=Timeouts(1.0, 0.3))
        assert time.monotonic() - start < 2
    assert f"{site.url}/tiny/rates.csv could not be downloaded: " in message


@pytest.mark.parametrize("declares_length", [True, False])
def test_a_body_cut_half_way_leaves_nothing(target, declares_length):
    cut = {"tiny/rates.csv": len(CONTENT["rates.csv"]) // 2}
    with serve(files=plain_site(), cut_after=cut, declares_length=declares_length) as site:
        message = refused(target, plain_release(site.url))
        assert f"{site.url}/tiny/rates.csv" in message
        site.cut_after.clear()
        download("tiny", target, releases=plain_release(site.url))
    assert contents(target) == CONTENT


def test_a_proxy_that_cannot_be_used_is_a_download_error(target, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "nonsense://127.0.0.1:1")
    assert "proxy" in refused(target, plain_release("http://data.invalid"))


def test_through_a_proxy_a_host_is_asked_that_cannot_be_reached_directly(target, monkeypatch):
    absolute = {f"http://data.invalid/tiny/{name}": body for name, body in CONTENT.items()}
    with serve(files=absolute) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/data"))
        download("tiny", target, releases=plain_release("http://data.invalid"))
    assert contents(target) == CONTENT


def test_a_killed_download_is_not_used_and_is_removed_by_the_next(target):
    script = """
        import sys
        from pathlib import Path
        from tests_release import releases
        from widedeep.data.download import download
        download("tiny", Path(sys.argv[1]), releases=releases)
    """
    with serve(files=plain_site(), stall_after={"tiny/genres.csv": 5}) as site:
        target.parent.mkdir(parents=True)
        releases = plain_release(site.url)
        module = target.parent.parent / "tests_release.py"
        module.write_text(
            f"from widedeep.data.download import Release, RemoteFile\nreleases = {releases!r}\n",
            encoding="utf-8",
        )
        path = os.pathsep.join([str(module.parent), str(Path(__file__).parents[2])])
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(target)],
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        ) as process:
            assert site.stalled.wait(20)
            process.send_signal(signal.SIGKILL)
        assert traces(target) == [".tiny.part"]
        (target.parent / ".tiny.part" / "movies.txt").write_bytes(b"half")
        site.stall_after.clear()
        download("tiny", target, releases=releases)
    assert contents(target) == CONTENT
    assert traces(target) == ["tiny"]


def test_two_at_once_fetch_each_file_once(target):
    with serve(files=plain_site(), seconds_a_file=0.05) as site:
        releases = plain_release(site.url)
        threads = [
            threading.Thread(target=download, args=("tiny", target), kwargs={"releases": releases})
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(site.requested) == sorted(plain_site())
    assert contents(target) == CONTENT


def test_the_target_appears_by_one_rename_of_the_folder_that_was_filled(target):
    filled = set()

    def watch(*_):
        assert traces(target) == [".tiny.part"]
        filled.add((target.parent / ".tiny.part").stat().st_ino)

    with serve(files=plain_site()) as site:
        download("tiny", target, releases=plain_release(site.url), progress=watch)
    assert filled == {target.stat().st_ino}


def test_an_interruption_leaves_nothing(target):
    def interrupt(path, _received, _total):
        if path == "tiny/genres.csv":
            raise KeyboardInterrupt

    with serve(files=plain_site()) as site, pytest.raises(KeyboardInterrupt):
        download("tiny", target, releases=plain_release(site.url), progress=interrupt)
    assert traces(target) == []


@pytest.mark.parametrize("declares_length", [True, False])
def test_progress_counts_every_file_up_to_its_size(target, declares_length):
    calls = []
    with serve(files=plain_site(), declares_length=declares_length) as site:
        download(
            "tiny",
            target,
            releases=plain_release(site.url),
            progress=lambda *call: calls.append(call),
        )
    for path, body in plain_site().items():
        received = [count for name, count, _ in calls if name == path]
        assert received == sorted(received)
        assert received[-1] == len(body)
        totals = {total for name, _, total in calls if name == path}
        assert totals == ({len(body)} if declares_length else {None})


@pytest.mark.parametrize("folder", ["", "kmrd/", "a/b/c/"])
def test_zips_are_unpacked_from_any_depth_and_the_rates_renamed(target, folder):
    clutter = {
        "__MACOSX/._movies.txt": b"",
        "directings.csv": b"movie,people\n",
        "genres.csv/": b"",
    }
    files = zip_site(folder, more=clutter)
    with serve(files=files) as site:
        download("kmrd-2m", target, releases=zip_release(site.url, files))
    assert contents(target) == CONTENT


def test_a_zip_without_items_is_refused_by_name(target):
    files = zip_site("kmrd/", without=["movies.txt"])
    with serve(files=files) as site:
        message = refused(target, zip_release(site.url, files), "kmrd-2m")
    assert message.startswith(
        "meta.zip: found 0 files named movies.txt, expected 1; it holds kmrd/"
    )


def test_a_zip_with_two_files_of_one_name_is_refused(target):
    files = zip_site(more={"old/movies.txt": b""})
    with serve(files=files) as site:
        message = refused(target, zip_release(site.url, files), "kmrd-2m")
    assert message.startswith("meta.zip: found 2 files named movies.txt, expected 1")


def test_what_is_no_zip_is_refused(target):
    files = zip_site() | {"kmrd/meta.zip": b"<html>"}
    with serve(files=files) as site:
        message = refused(target, zip_release(site.url, files), "kmrd-2m")
    assert message == "meta.zip could not be unpacked: File is not a zip file"


def test_each_release_yields_the_same_six_names_from_the_pinned_commit():
    for release in RELEASES.values():
        assert sorted(name for file in release.files for name in file.names) == sorted(CONTENT)
        assert f"/lovit/kmrd/{COMMIT}/" in release.base_url


def test_a_content_id_is_what_git_says(tmp_path):
    file = tmp_path / "hello"
    file.write_bytes(b"hello\n")
    assert git_blob_id(file) == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_the_pinned_ids_are_those_of_the_real_kmrd_small(kmrd_small):
    for file in RELEASES["kmrd-small"].files:
        assert git_blob_id(kmrd_small / file.names[0]) == file.blob_id
