"""A stream for communication: collectives run beside the computation, in the order in which they were submitted.

A thread runs them, on a CUDA device in a CUDA stream of its own. One after the other, because ranks that ran two
collectives at once could run them in different orders, and each would wait for a message of the other.
Production leaves the queue to the library: NCCL's stream, gloo's threads.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from sysai.distributed.p2p import Work


class CommunicationStream:
    """Runs what is submitted, in order, beside the work of this rank's `device`."""

    def __init__(self, device: torch.device) -> None:
        self._thread = ThreadPoolExecutor(1, "communication")
        self._cuda_stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def submit(self, function: Callable, *args, **kwargs) -> Work:
        """Start `function` once all work before it is done; leave its tensors alone until `wait` has returned.

        `wait` raises what `function` raised. With CUDA it returns early, and the current CUDA stream waits.
        """
        if self._cuda_stream is None:
            return _Submitted(self._thread.submit(function, *args, **kwargs), (args, kwargs))
        ready = torch.cuda.current_stream().record_event()  # what the tensors still wait for
        return _Submitted(self._thread.submit(self._run_in_stream, ready, function, args, kwargs), (args, kwargs))

    def _run_in_stream(self, ready: torch.cuda.Event, function: Callable, args: tuple, kwargs: dict):
        with torch.cuda.stream(self._cuda_stream):
            self._cuda_stream.wait_event(ready)
            function(*args, **kwargs)
            return self._cuda_stream.record_event()


class _Submitted:
    """It holds the work's tensors, whose memory a CUDA stream may use after the call has returned."""

    def __init__(self, future: Future, tensors: object) -> None:
        self._future, self._tensors = future, tensors

    def wait(self) -> None:
        event = self._future.result()
        if isinstance(event, torch.cuda.Event):
            torch.cuda.current_stream().wait_event(event)
        self._tensors = None
