"""Limits on what a client may take of the server: bytes, tokens, connections and time. The scheduler's own limits stand
in `SchedulerConfig`, those of a single value (temperature, stop strings) in `SamplingParams`.
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class ServerLimits:
    """Limits in bytes, seconds and counts, checked when the object is made.

    Args:
        max_waiting: completions that wait beyond those that run; more get status 429.
        max_completions: of one request, over all its prompts.
        max_schema_bytes: of a JSON schema; to compile one within these two limits takes less than half a second.
        max_schema_depth: arrays and objects within each other in the text of a schema.
        max_body_bytes: of a request's body; more is status 413.
        max_connections: that are served at once; further ones get status 503, those beyond twice as many are cut.
        head_timeout: until a request's head has come; then the connection is cut.
        body_timeout: until its body has come; then status 408.
        write_timeout: until a client who has stopped to read goes on; then the connection is cut.
        request_timeout: until the answer is complete; then status 504, or an error at the end of a stream.
        keep_alive: that an idle connection is kept.
        retry_after: that a refused client is asked to wait.

    Raises:
        ValueError: a limit that is not positive.
    """

    max_waiting: int = 512
    max_completions: int = 128
    max_schema_bytes: int = 2**14
    max_schema_depth: int = 64
    max_body_bytes: int = 2**21
    max_connections: int = 1024
    head_timeout: float = 10
    body_timeout: float = 30
    write_timeout: float = 30
    request_timeout: float = 600
    keep_alive: float = 5
    retry_after: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"{field.name} must be positive, not {getattr(self, field.name)}")
