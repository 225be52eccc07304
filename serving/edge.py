"""The edge: what Ray's HAProxy is told beyond what Ray tells it. It bounds what comes in, lets it wait in fair order, and never says 500.

Ray renders HAProxy's configuration itself. Where its variables do not reach, a start script put before the binary mends the
configuration with `sed` and becomes HAProxy. Read in ray 2.60: `serve/_private/haproxy.py`, `haproxy_templates.py`; in HAProxy 2.8's
configuration manual: `set-priority-offset`, `maxconn` of servers, `timeout queue`, stick tables.
"""

import os
import stat
import time
from http import HTTPStatus
from pathlib import Path

import msgspec

from contracts.settings import Ports, Settings
from serving.admission import STARTED
from serving.examples import DETAILS
from serving.keys import Scope, list_keys
from serving.messages import Problem
from serving.problems import BY_NAME, RETRY_AFTER_S
from storage.files import write_bytes
from storage.layout import Layout

LOOPBACK = "127.0.0.1"
LOOPBACKS = (LOOPBACK, "localhost", "::1")

CERTIFICATE = "edge.pem"
"""In the secrets folder: certificate and key with which HAProxy serves TLS."""

READERS = "readers"
"""In the folder for sockets: digests of the keys that may read HAProxy's statistics."""

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; 1.3 has none that are weak."""

HSTS_S = 31_536_000
PAGES = {403: "forbidden", 404: "no-such-path", 408: "slow", 413: "too-large", 429: "too-many", 503: "unavailable"}
"""What HAProxy answers by itself, by its status, and the kind of problem that it is told as."""

AS_503 = (500, 502, 504)
"""Statuses that HAProxy would answer with and that are told as 503: whatever became of the request, asking again is right."""

MOST_BEHIND_MS = 1_000
"""By how much a request is put back at most; and where its key was never answered: who makes keys up must not hold up who has one."""

BEHIND_MS = 5
"""By how much a key's next request is put back for each that it has under way."""

LARGE_BYTES = 12_000
"""A body that may not fit into HAProxy's buffer, so that it holds a place of a replica while it comes."""

KEYS = 20_000
"""Most keys that fairness remembers."""


def write_proxy(folder: Path, settings: Settings, ports: Ports, binary: str) -> Path:
    """Write the start script of HAProxy and what it needs into a folder; the script's path.

    Args:
        folder: of this installation, where nobody else may write.
        binary: HAProxy.

    Raises:
        PermissionError: the folder belongs to somebody else.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
        raise PermissionError(f"{folder} belongs to another user; remove it, or name another state folder")
    folder.chmod(0o700)
    for code, kind in PAGES.items():
        write_bytes(folder / f"{code}.http", page(kind, settings))
    write_bytes(folder / READERS, readers(settings), 0o600)
    script = folder / "haproxy"
    write_bytes(folder / "haproxy.sed", edits(folder, settings, ports).encode())
    write_bytes(script, _SCRIPT.format(folder=folder, binary=binary).encode(), 0o700)
    return script


def page(kind: str, settings: Settings) -> bytes:
    """A whole HTTP response that tells of a problem, as HAProxy takes it for one of its errors."""
    told = BY_NAME[kind]
    most = settings.serving.max_queued_requests
    detail = {
        "too-large": f"The body is larger than {settings.serving.max_body_bytes} bytes. Send it in parts.",
        "too-many": f"The key has {most} requests under way or waiting, which is the most. Nothing was done; ask again, and less at once.",
        "unavailable": "No replica could take the request in time: all are busy, or none is up. Try again.",
        "slow": f"The request did not arrive within {_seconds(settings)} s.",
        "forbidden": "This is not for anyone.",
    }.get(kind, DETAILS[kind][0])
    body = msgspec.json.encode(Problem(told.uri, told.title, told.status, detail, ""))
    lines = [
        f"HTTP/1.1 {told.status} {HTTPStatus(told.status).phrase}",
        "content-type: application/problem+json",
        "cache-control: no-store",
        f"content-length: {len(body)}",
    ]
    if told.status in (429, 503):
        lines.append(f"retry-after: {RETRY_AFTER_S}")
    if told.status == 429:
        lines += [f'ratelimit-policy: "queue";q={most};qu="concurrent-requests"', f'ratelimit: "queue";r=0;t={RETRY_AFTER_S}']
    return "\r\n".join([*lines, "", ""]).encode() + body


def edits(folder: Path, settings: Settings, ports: Ports) -> str:
    """The `sed` script that mends what Ray renders."""
    serving = settings.serving
    pages = [f"errorfile {code} {folder}/{code}.http" for code in PAGES] + [f"errorfile {code} {folder}/503.http" for code in AS_503]
    defaults = [
        f"timeout http-request {_seconds(settings)}s",
        f"timeout queue {int(serving.queue_timeout_s * 1000)}ms",
        # why: who opened a connection to use it later is not told that he was slow
        "option http-ignore-probes",
        *pages,
    ]
    return f"""\
/^frontend prometheus$/,/^    no log$/d
/^    log .* local0 info$/d
/^    errorfile 50[0-9] /d
/^defaults$/a\\
{_lines(defaults)}
/^frontend http_frontend$/i\\
backend offerloop_keys\\
    stick-table type binary len 32 size {KEYS} expire 10m store conn_cur,gpt0\\
backend offerloop_large\\
    stick-table type string len 8 size 1 expire 10m store conn_cur
/^frontend http_frontend$/,/^    bind /{{
/^    bind /a\\
{_lines([*secure(settings, ports), *front(settings)])}
}}
s|^    server \\(.*\\) check|    server \\1 maxconn {serving.max_ongoing_requests} check|
s|^    http-request return status 404 content-type text/plain .*|    http-request deny deny_status 503|
s|^  bind \\*:{ports.proxy_statistics}$|  bind {LOOPBACK}:{ports.proxy_statistics}|
/^  stats enable$/i\\
  http-request set-var(txn.key) req.hdr(authorization),field(2," "),sha2(256),hex\\
  http-request set-var(txn.password) req.hdr(authorization),field(2," "),b64dec,field(2,:),sha2(256),hex\\
  acl known var(txn.key),lower -m str -f {folder}/{READERS}\\
  acl known var(txn.password),lower -m str -f {folder}/{READERS}\\
  http-request auth realm Offerloop unless known\\
  http-request use-service prometheus-exporter if {{ path /metrics }}
"""


def secure(settings: Settings, ports: Ports) -> list[str]:
    """The lines of the frontend that serve TLS, if there is a certificate; what comes by its other way is the installation's own.

    Also those that hold for every answer, HAProxy's own included.
    """
    every = ["http-after-response set-header x-content-type-options nosniff", "http-after-response del-header server"]
    if not settings.serving.tls_certificate:
        return every
    file = Layout(settings.folder).secrets / CERTIFICATE
    return [
        f"bind {settings.host}:{ports.api} ssl crt {file} ssl-min-ver TLSv1.2 ciphers {CIPHERS} alpn http/1.1",
        "http-request set-header x-forwarded-proto https if { ssl_fc }",
        f'http-after-response set-header strict-transport-security "max-age={HSTS_S}" if {{ ssl_fc }}',
        *every,
    ]


def readers(settings: Settings) -> bytes:
    """Digests of the keys that may read HAProxy's statistics now, a line each."""
    known, now_s = list_keys(Layout(settings.folder)), time.time()
    return "".join(f"{key.sha256}\n" for key in known if Scope.READ in key.scopes and key.valid(now_s)).encode()


def front(settings: Settings) -> list[str]:
    """The rules of the frontend, in order."""
    serving = settings.serving
    few = max(1, serving.max_ongoing_requests // 4)
    return [
        "option disable-h2-upgrade",
        f"http-request deny deny_status 413 if {{ req.hdr_val(content-length) gt {serving.max_body_bytes} }}",
        # why: with these, anyone could switch off Ray's limits, or make it decode bytes that are no UTF-8 and answer 500
        "http-request del-header x-request-timeout-seconds",
        "http-request del-header x-session-id",
        "http-request del-header serve_multiplexed_model_id",
        "http-request del-header serve-multiplexed-model-id",
        "http-request del-header x-request-id unless { req.hdr(x-request-id) -m reg ^[A-Za-z0-9._:-]{1,128}$ }",
        # why: saves Ray two tasks a request; what a client that left has asked for is made durable all the same
        "http-request set-header x-request-disconnect-disabled ?1",
        "http-request deny deny_status 404 if { path /-/routes }",
        # why: a request takes a replica's place once it is here whole, not while it trickles in
        f"http-request wait-for-body time {_seconds(settings)}s",
        f"http-request set-header {STARTED.decode()} %[date(0,us)]",
        # why: one key is one, in whatever header it comes: the name before a password is anybody's to choose
        "acl basic req.fhdr(authorization) -m beg -i basic",
        'http-request set-var(txn.sent) req.fhdr(authorization),word(2," ") if !basic',
        'http-request set-var(txn.sent) req.fhdr(authorization),word(2," "),b64dec,field(2,:) if basic',
        "http-request set-var(txn.sent) str(unreadable) if { req.fhdr(authorization) -m found } !{ var(txn.sent) -m found }",
        "http-request track-sc0 var(txn.sent),sha2(256) table offerloop_keys if { var(txn.sent) -m found }",
        *forwarded(settings),
        f"http-request deny deny_status 429 if {{ sc0_conn_cur gt {serving.max_queued_requests} }}",
        # why: each request that a key has under way already puts its next one back by more than a replica takes for one: who asks for
        # little goes before who asks for much, and nobody waits for ever
        f"http-request set-priority-offset int({MOST_BEHIND_MS})",
        f"acl modest sc0_conn_cur lt {MOST_BEHIND_MS // BEHIND_MS}",
        f"http-request set-priority-offset sc0_conn_cur,mul({BEHIND_MS}) if modest {{ sc0_get_gpt0 gt 0 }}",
        "http-request set-var(txn.keyed) bool(true) if { path_beg /v1/ } !{ path_beg /v1/hooks/ }",
        "http-response sc-set-gpt0(0) 1 if { var(txn.keyed) -m bool } { status lt 300 } { sc0_get_gpt0 eq 0 }",
        # why: what does not fit into a buffer holds a replica's place while it comes, so there may only be a few
        f"acl large req.hdr_val(content-length) gt {LARGE_BYTES}",
        "acl large req.fhdr(transfer-encoding) -m found",
        "http-request track-sc1 str(large) table offerloop_large if large",
        f"http-request deny deny_status 503 if large {{ sc1_conn_cur gt {few} }}",
        # why: what Ray says by itself it says as plain text
        "http-response deny deny_status 503 if { status ge 500 } { res.hdr(content-type) -m beg text/plain }",
        "http-response deny deny_status 408 if { status 408 } { res.hdr(content-type) -m beg text/plain }",
        # why: when most connections are taken, none is kept that is idle
        f"http-after-response set-header connection close if {{ fe_conn gt {serving.max_connections * 3 // 4} }}",
    ]


def forwarded(settings: Settings) -> list[str]:
    """The rules that say where a request comes from: nobody from elsewhere says it of himself.

    On loopback, another proxy may say it, and does so by replacing what its clients sent.
    """
    says_so = "" if settings.host not in LOOPBACKS else " if !{ src 127.0.0.0/8 ::1 }"
    return [f"http-request set-header x-forwarded-for %[src]{says_so}"]


def _lines(lines: list[str]) -> str:
    return "\\\n".join(f"    {line}" for line in lines)


def _seconds(settings: Settings) -> int:
    return max(1, int(settings.serving.request_timeout_s))


_SCRIPT = """#!/bin/sh
# Ray starts this as HAProxy. It mends the configuration that Ray has rendered and becomes the real one, with the same process id.
previous=
for argument; do
    [ "$previous" = -f ] && configuration=$argument
    previous=$argument
done
sed -i -f "{folder}/haproxy.sed" "$configuration"
exec "{binary}" "$@"
"""
