"""A real browser: the page of files, and events sent by a page of another origin."""

import contextlib
import http.server
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import FLAGS, executable
from tests.support.payloads import event, payloads
from tests.support.service import KEYS, Service

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]

PAGE = """<!doctype html><title>a shop</title><pre id="said">nothing yet</pre><script>
const to = "BASE/v1/events?token=KEY";
const row = how => JSON.stringify({type: "track", event: "click", how,
    device_id: "550e8400-e29b-41d4-a716-446655440000"});
async function send() {
    const said = [];
    const simple = await fetch(to, {method: "POST", body: row("fetch")});
    said.push("simple " + simple.status + " " + (await simple.json()).accepted);
    const asked = await fetch("BASE/v1/events", {method: "POST", body: row("preflight"),
        headers: {"Content-Type": "application/json", "Authorization": "Bearer KEY"}});
    said.push("preflight " + asked.status + " " + (await asked.json()).accepted);
    const bad = await fetch(to, {method: "POST", body: "{"});
    said.push("bad " + bad.status + " " + (await bad.json()).error);
    said.push("beacon " + navigator.sendBeacon(to, row("beacon")));
    document.getElementById("said").textContent = said.join("; ");
}
send().catch(error => { document.getElementById("said").textContent = "failed: " + error; });
</script>"""


def dump_dom(url: str, profile: Path) -> str:
    """The page after its scripts have run, as headless Chromium shows it."""
    done = subprocess.run(
        [
            executable(),
            *FLAGS,
            f"--user-data-dir={profile}",
            "--virtual-time-budget=10000",
            "--dump-dom",
            url,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@contextlib.contextmanager
def page_of_another_origin(content: str) -> Iterator[str]:
    """Serves one page on a port of its own, which makes it another origin; yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = content.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def test_the_page_of_files_shows_what_is_published(service: Service, tmp_path: Path) -> None:
    service.post_json("events", [event(number) for number in range(42)], wait="file")
    (file,) = service.files()

    page = dump_dom(f"{service.base_url}/files?token={KEYS[1]}", tmp_path)

    assert file["path"] in page
    assert re.search(r">\s*42\s*<", page), "the number of rows stands there"


def test_a_page_of_another_origin_can_send_events(service: Service, tmp_path: Path) -> None:
    page = PAGE.replace("BASE", service.base_url).replace("KEY", KEYS[2])

    with page_of_another_origin(page) as address:
        shown = dump_dom(address, tmp_path)

    said = shown.split('<pre id="said">')[1].split("</pre>")[0]
    assert said == "simple 202 1; preflight 202 1; bad 400 rows_refused; beacon true"
    service.flush()
    sent = sorted(payload["how"] for payload in payloads(service.table("events", 2)))
    assert sent == ["beacon", "fetch", "preflight"]
