"""uvicorn against granian, with this service as the application; the figures of ADR 0009.

Both run at the same time, each with one worker; the load goes to them in turn, so that what else happens on the machine
falls on both. CPU time per request is what the server used itself, so it also holds on a busy machine (Linux only).
The environment is that of `dbs serve api`. Needs granian, and an instance that has a database.

    python docs/decisions/0009-measure.py --token-file .data/admin.token --instance demo --customer demo
"""
# ruff: noqa: S101, S603, T201, TID251  a tool that is run by hand, outside the service

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

APP = "database_service.asgi:make_app"
SERVERS = {
    "uvicorn": (
        18971,
        ["-m", "uvicorn", "--factory", APP, "--loop", "uvloop", "--http", "httptools", "--no-access-log"],
    ),
    "granian": (
        18972,
        ["-m", "granian", "--factory", APP, "--interface", "asgi", "--loop", "uvloop", "--no-access-log"],
    ),
}
CONCURRENCY = (1, 16, 64)
QUIETLY = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}


async def client(port: int, request: bytes, until: float, took: list[float]) -> None:
    """One connection, one request after the other; every answer must be a 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (begun := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        took.append(time.perf_counter() - begun)
    writer.close()


async def load(
    port: int, group: int, request: bytes, concurrency: int, seconds: float
) -> tuple[float, float, float, float]:
    """Requests per second; median and 99th percentile in milliseconds; CPU milliseconds for each request."""
    took: list[float] = []
    before = cpu_s(group)
    until = time.perf_counter() + seconds
    await asyncio.gather(*(client(port, request, until, took) for _ in range(concurrency)))
    took.sort()
    used = (cpu_s(group) - before) * 1000 / len(took)
    return len(took) / seconds, took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000, used


def cpu_s(group: int) -> float:
    """User and system time of all processes of this group so far."""
    used = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group:
            used += int(fields[11]) + int(fields[12])
    return used / os.sysconf("SC_CLK_TCK")


def request(method: str, path: str, token: str, body: object = None) -> bytes:
    content = json.dumps(body).encode() if body else b""
    head = (
        f"{method} /api/database{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def listening(port: int) -> None:
    for _ in range(300):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise SystemExit(f"nothing listens on {port}")


async def measure(groups: dict[str, int], requests: dict[str, bytes], rounds: int, seconds: float) -> None:
    for server, (port, _) in SERVERS.items():
        await listening(port)
        for each in requests.values():
            await load(port, groups[server], each, 16, 1)
    print("| request | c | server | requests/s: median (least to most) | p50 ms | p99 ms | CPU ms |")
    print("|---|---|---|---|---|---|---|")
    for name, each in requests.items():
        for concurrency in CONCURRENCY:
            runs: dict[str, list[tuple[float, float, float, float]]] = {server: [] for server in SERVERS}
            for _ in range(rounds):
                for server, (port, _) in SERVERS.items():
                    runs[server].append(await load(port, groups[server], each, concurrency, seconds))
            for server, found in runs.items():
                rates, p50, p99, cpu = ([run[i] for run in found] for i in range(4))
                middle = statistics.median
                spread = f"{middle(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})"
                times = f"{middle(p50):.2f} | {middle(p99):.1f} | {middle(cpu):.2f}"
                print(f"| {name} | {concurrency} | {server} | {spread} | {times} |", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--token-file", type=Path, required=True)
    options.add_argument("--instance", required=True)
    options.add_argument("--customer", required=True)
    options.add_argument("--plan", default="starter")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=3)
    given = options.parse_args()
    token = given.token_file.read_text().strip()
    ask = {"instance_id": given.instance, "customer_id": given.customer, "plan_tier": given.plan}
    requests = {
        "health (no database)": request("GET", "/health", token),
        "allocate again (two statements)": request("POST", "/allocate", token, ask),
    }
    running = {
        server: subprocess.Popen([sys.executable, *command, "--port", str(port)], **QUIETLY)
        for server, (port, command) in SERVERS.items()
    }
    try:
        groups = {server: process.pid for server, process in running.items()}
        asyncio.run(measure(groups, requests, given.rounds, given.seconds))
    finally:
        for process in running.values():
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
