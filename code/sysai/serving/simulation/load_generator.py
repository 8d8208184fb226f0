"""The load generator: a workload replayed against any server with the OpenAI API, and the latencies of its users.

Requests are sent when they are due, whether earlier ones are answered or not (an open loop), because a crowd of users
does not wait for each other. A generator that sends the next request when the last one is answered slows down with the
server and hides how long its queue would be. Times count from when a request was due, so that a late client, or a cap
on concurrency, is never to the server's favour (Tene's coordinated omission):

    TTFT = first token - due        TPOT, gaps, throughput, SLO attainment: see `latency`

Each request streams, greedy, for exactly `output_length` tokens. A token that a server sends together with others
(text of half a character is held back) counts when it comes; the answer's `usage` tells how many there were. Source:
`vllm bench serve`, whose request-rate, burstiness and max-concurrency these are.

    sysai load http://127.0.0.1:8000/v1 --rate 2 --requests 200
"""

import argparse
import asyncio
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sysai.serving.simulation.latency import SLO, LatencyReport, RequestTiming, summarize
from sysai.serving.simulation.workload import AZURE_CODE, AZURE_CONVERSATION, Sharing, WorkItem, make_workload

if TYPE_CHECKING:
    import httpx2

TRACES = {"conversation": AZURE_CONVERSATION, "code": AZURE_CODE}
LEFT = "left"  # the outcome of a client whose patience has ended
_MOST_SHOWN = 2000  # characters of a refusal


@dataclass(frozen=True)
class Outcome:
    """The outcome of a request: its times, in seconds from the start of the replay, and why it failed, if it did.

    `error` is None, a status ("429"), `LEFT`, "no connection", "cut" (the answer ended early, or was no HTTP),
    "in stream" (the server said so there), or "no events" (something else than events came).
    """

    timing: RequestTiming
    error: str | None = None
    message: str = ""
    sent: float = math.nan
    cached_tokens: int = 0


async def replay(
    workload: Sequence[WorkItem],
    url: str,
    model: str | None = None,
    *,
    api_key: str | None = None,
    max_concurrency: int | None = None,
    options: Mapping[str, object] | None = None,
) -> list[Outcome]:
    """Send every request of `workload` when it is due; their outcomes, in its order.

    Args:
        workload: arrivals in seconds from now.
        url: of the API, e.g. "http://127.0.0.1:8000/v1".
        model: the name that the server knows it by; None leaves it out.
        max_concurrency: requests under way at most; others wait here, and their time counts.
        options: further parameters of each request, e.g. {"temperature": 1}.

    Raises:
        ValueError: a URL that is none. ModuleNotFoundError: httpx2 is not installed.
    """
    import httpx2

    endpoint = _endpoint(url)
    start = time.perf_counter()
    concurrency = asyncio.Semaphore(max_concurrency) if max_concurrency else nullcontext()
    connections = {  # a new one for each request, as many as there are, without a limit of time
        "headers": {"Authorization": f"Bearer {api_key}"} if api_key else {},
        "limits": httpx2.Limits(max_connections=None, max_keepalive_connections=0),
        "timeout": None,
        "trust_env": False,
    }
    common = {"temperature": 0, "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}}
    common |= {"model": model} if model else {}
    common |= dict(options or {})

    async def send(client: httpx2.AsyncClient, item: WorkItem) -> Outcome:
        # An open loop: it is sent when it is due, even if every earlier one is still unanswered.
        await asyncio.sleep(item.arrival + start - time.perf_counter())
        body = common | {"prompt": item.prompt_token_ids, "max_tokens": item.output_length}
        answer, limit = _Answer(start), asyncio.timeout(None if item.patience == math.inf else item.patience)
        try:
            async with limit, concurrency:  # patience runs while it waits for its turn
                await answer.read(client, endpoint, body)
        except (httpx2.HTTPError, json.JSONDecodeError, TimeoutError) as error:
            answer.error, answer.message = LEFT if limit.expired() else _kind(error), str(error)
        return answer.outcome(item.arrival)

    async with httpx2.AsyncClient(**connections) as client:
        return list(await asyncio.gather(*(send(client, item) for item in workload)))


class _Answer:
    """One answer while it comes: when its tokens came, and how it ended."""

    def __init__(self, start: float) -> None:
        self.error, self.message = "cut", "the answer ended before [DONE]"
        self._start, self._sent, self._usage = start, math.nan, {}
        self._times: list[float] = []

    async def read(self, client: "httpx2.AsyncClient", url: str, body: object) -> None:
        """Send the request, and note when tokens come."""
        self._sent = time.perf_counter() - self._start
        async with client.sse(url, method="POST", json=body) as events:
            if events.response.status_code != 200:
                text = (await events.response.aread()).decode(errors="replace")[:_MOST_SHOWN]
                self.error = str(events.response.status_code)
                self.message = text or events.response.reason_phrase
                return
            async for sent in events:
                now = time.perf_counter() - self._start
                if sent.data == "[DONE]":
                    self.error, self.message = None, ""
                    continue
                event = json.loads(sent.data)
                if "error" in event:
                    self.error, self.message = "in stream", json.dumps(event["error"])
                    return
                self._usage = event.get("usage") or self._usage
                if event.get("choices"):
                    self._times.append(now)

    def outcome(self, arrival: float) -> Outcome:
        """Sum up the answer; tokens that came together count at the time of the last."""
        held_back = self._usage.get("completion_tokens", 0) - len(self._times)
        times = self._times + self._times[-1:] * held_back
        if self.error is None and not times:
            self.error, self.message = "cut", "an answer without a token"
        cached = (self._usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        timing = RequestTiming(arrival, tuple(times), completed=self.error is None)
        return Outcome(timing, self.error, self.message, self._sent, cached)


def _endpoint(url: str) -> str:
    import httpx2

    endpoint = f"{url.rstrip('/')}/completions"
    try:
        address = httpx2.URL(endpoint)
    except httpx2.InvalidURL as error:
        raise ValueError(f"{url!r} is no address of a server ({error}): write http://host:port/v1") from None
    if address.scheme not in ("http", "https") or not address.host or not 0 < (address.port or 80) < 2**16:
        raise ValueError(f"{url!r} is no address of a server: write http://host:port/v1")
    return endpoint


def _kind(error: Exception) -> str:
    import httpx2

    match error:
        case httpx2.SSEError() | json.JSONDecodeError():
            return "no events"
        case httpx2.ConnectError():
            return "no connection"
    return "cut"


def describe(outcomes: Sequence[Outcome], slo: SLO) -> str:
    """A report of several lines: throughput, percentiles, attainment, and failures by their kind."""
    failures = Counter(outcome.error for outcome in outcomes if outcome.error)
    lines = []
    if len(outcomes) > failures.total():
        report = summarize([outcome.timing for outcome in outcomes], slo)
        lines += _lines(report, slo)
    lines += [f"failed   {count} x {error}" for error, count in failures.most_common()]
    return "\n".join(lines)


def _lines(report: LatencyReport, slo: SLO) -> list[str]:
    limits = [f"{name} <= {value:g} s" for name, value in asdict(slo).items() if value < math.inf]
    latencies = {"TTFT": report.ttft, "TPOT": report.tpot, "gap": report.gap}
    lines = [
        f"requests {report.completed} of {report.requests} completed in {report.seconds:.1f} s",
        f"output   {report.output_tokens} tokens, {report.throughput:.1f} a second",
    ]
    for name, values in latencies.items():
        if values:
            shown = "   ".join(f"P{percent:g} {value * 1e3:8.1f} ms" for percent, value in values.items())
            lines.append(f"{name:8} {shown}")
    if limits:
        lines.append(
            f"SLO      {' and '.join(limits)}: {report.attainment:.1%}, {report.goodput:.2f} requests a second"
        )
    return lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""

    def add(name: str, kind: type, default: object, text: str) -> None:
        parser.add_argument(name, type=kind, default=default, help=text)

    parser.add_argument("url", help="of the API, e.g. http://127.0.0.1:8000/v1")
    add("--model", str, None, "the name that the server knows it by (default: left out)")
    add("--api-key", str, None, "asked by the server")
    add("--requests", int, 200, "how many (default: 200)")
    add("--rate", float, 1.0, "requests a second (default: 1)")
    add("--cv", float, 1.0, "coefficient of variation of their gaps: 1 Poisson, more for bursts (default: 1)")
    parser.add_argument("--trace", choices=TRACES, default="conversation", help="whose lengths (default: conversation)")
    add("--scale", float, 0.125, "times which its lengths are taken (default: 0.125)")
    add("--longest-prompt", int, 1024, "tokens (default: 1024)")
    add("--shared", float, 0.0, "fraction of the requests that begin with a system prompt (default: 0)")
    add("--system-prompts", int, 4, "how many there are (default: 4)")
    add("--system-length", int, 128, "tokens of each (default: 128)")
    add("--vocabulary", int, 49_152, "token ids that prompts are drawn from (default: 49152)")
    add("--seed", int, 0, "of all that is random (default: 0)")
    add("--max-concurrency", int, None, "requests under way at most (default: no limit)")
    add("--ttft", float, math.inf, "SLO: seconds to the first token")
    add("--tpot", float, math.inf, "SLO: seconds a token after it")
    parser.add_argument("--record", type=Path, metavar="PATH", help="write every request's outcome to a JSON file")


def run(options: argparse.Namespace) -> int:
    """Generate the load; 0 if all requests were answered, 1 if some were not, 2 for wrong usage."""
    trace = TRACES[options.trace]
    try:
        sharing = Sharing(options.shared, options.system_prompts, options.system_length)
        workload = make_workload(
            options.requests,
            options.rate,
            trace.prompt.scaled(options.scale, options.longest_prompt),
            trace.output.scaled(options.scale),
            options.seed,
            options.cv,
            sharing,
            vocabulary=options.vocabulary,
        )
        outcomes = asyncio.run(
            replay(
                workload,
                options.url,
                options.model,
                api_key=options.api_key,
                max_concurrency=options.max_concurrency,
            )
        )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(describe(outcomes, SLO(options.ttft, options.tpot)))
    if options.record:
        options.record.write_text(json.dumps([asdict(outcome) for outcome in outcomes]) + "\n", encoding="utf-8")
    return int(any(outcome.error for outcome in outcomes))
