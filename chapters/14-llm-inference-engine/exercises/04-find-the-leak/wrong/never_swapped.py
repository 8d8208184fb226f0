"""Does without the host, where blocks are lost: whoever is preempted is computed again."""

from dataclasses import dataclass, field


class Pool:
    """Blocks, and the number of holders of each."""

    def __init__(self, num_blocks: int) -> None:
        self.free = list(range(num_blocks))
        self.references = [0] * num_blocks

    def take(self) -> int | None:
        """A free block, with one holder; None if none is free."""
        if not self.free:
            return None
        block = self.free.pop()
        self.references[block] = 1
        return block

    def share(self, block: int) -> None:
        """Count one more holder."""
        self.references[block] += 1

    def give_back(self, block: int) -> None:
        """Count one holder fewer; after the last the block is free."""
        self.references[block] -= 1
        if self.references[block] == 0:
            self.free.append(block)


@dataclass(eq=False)
class Request:
    """`blocks` on the device while it runs, `host_blocks` while it waits swapped out."""

    name: str
    length: int  # positions, all of which have keys and values while it runs
    remaining: int  # tokens to be written
    blocks: list[int] = field(default_factory=list)
    host_blocks: list[int] = field(default_factory=list)


class Server:
    """First come, first served; the last one admitted is the first to be preempted."""

    def __init__(self, num_blocks: int, host_blocks: int, block_size: int, max_running: int) -> None:
        self.device, self.host = Pool(num_blocks), Pool(host_blocks)
        self.block_size, self.max_running = block_size, max_running
        self.running: list[Request] = []
        self.waiting: list[Request] = []

    def add(self, name: str, prompt: int, output: int) -> None:
        """A prompt of `prompt` tokens, to which `output` are to be written."""
        self.waiting.append(Request(name, prompt, output))

    def fork(self, parent: str, child: str, output: int) -> None:
        """Let `child` go on from where a running parent is, in the same blocks; without a place it waits."""
        request = next((other for other in self.running if other.name == parent), None)
        if request is None:
            return
        if len(self.running) == self.max_running:
            self.add(child, request.length, output)
            return
        for block in request.blocks:
            self.device.share(block)
        self.running.append(Request(child, request.length, output, list(request.blocks)))

    def abort(self, name: str) -> None:
        """The client has left; a name that is not known (any longer) is nothing."""
        request = next((other for other in (*self.running, *self.waiting) if other.name == name), None)
        if request in self.running:
            self.running.remove(request)
            for block in request.blocks:
                self.device.give_back(block)
        elif request in self.waiting:
            self.waiting.remove(request)
            for block in request.host_blocks:
                self.host.give_back(block)

    def step(self) -> None:
        """Write one token of every request that runs; those that are done leave."""
        preempted = False
        for request in list(self.running):
            while request in self.running and not self._grow(request):
                self._preempt(self.running[-1])
                preempted = True
        if not preempted:
            self._admit()
        for request in list(self.running):
            request.length += 1
            request.remaining -= 1
            if request.remaining == 0:
                self.running.remove(request)
                for block in request.blocks:
                    self.device.give_back(block)

    def _grow(self, request: Request) -> bool:
        """Reserve the next position, in a block that nobody else holds; False if no block is free."""
        partly_filled = request.length % self.block_size > 0
        if partly_filled and self.device.references[request.blocks[-1]] == 1:
            return True
        block = self.device.take()
        if block is None:
            return False
        if partly_filled:  # shared: the model copies it before it writes
            self.device.give_back(request.blocks.pop())
        request.blocks.append(block)
        return True

    def _preempt(self, request: Request) -> None:
        """Swap a running request out to the host; without room there its keys and values are computed again."""
        self.running.remove(request)
        self.waiting.insert(0, request)
        for block in request.blocks:
            self.device.give_back(block)

    def _admit(self) -> None:
        """Give blocks to those that wait, in order, for all their positions and the next."""
        while self.waiting and len(self.running) < self.max_running:
            needed = self._blocks_for(self.waiting[0].length + 1)
            if needed > len(self.device.free):
                return
            request = self.waiting.pop(0)
            request.blocks = [self.device.take() for _ in range(needed)]
            while request.host_blocks:  # the model copies them back
                self.host.give_back(request.host_blocks.pop())
            self.running.append(request)

    def _blocks_for(self, positions: int) -> int:
        return -(-positions // self.block_size)


def serve(num_blocks: int, host_blocks: int, block_size: int, max_running: int, events: list[tuple]) -> list[tuple]:
    """Carry out events such as ("add", "r1", 12, 5) and ("step",), and return what each left. Leave it as it is."""
    server = Server(num_blocks, host_blocks, block_size, max_running)
    log = []
    for name, *arguments in events:
        getattr(server, name)(*arguments)
        running = [(r.name, r.length, r.remaining, list(r.blocks)) for r in server.running]
        waiting = [(r.name, r.length, r.remaining, list(r.host_blocks)) for r in server.waiting]
        pools = [(list(pool.references), list(pool.free)) for pool in (server.device, server.host)]
        log.append((running, waiting, *pools))
    return log
