"""The asynchronous engine: the same tokens as offline, nothing left behind by those who leave, and faults contained."""

import asyncio
import threading
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import PlantedError, crash
from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.sequence import FinishReason
from sysai.serving.engine.async_engine import AsyncEngine, EngineDeadError, EngineStoppedError, QueueFullError
from sysai.serving.engine.llm_engine import Engine
from sysai.serving.engine.outputs import join
from sysai.serving.engine.stream import SlowReaderError
from tiny_models import byte_tokenizer, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread_a_product")
CONFIG = SchedulerConfig(num_blocks=64, block_size=4, max_num_batched_tokens=32, max_num_seqs=8, max_model_len=100)
TIGHT = replace(CONFIG, num_blocks=14, max_model_len=48, max_num_batched_tokens=9, watermark=0.0)
PROMPTS = [b"A prompt", b"of its own", b"for each", b"of the four", b"A prompt too"]


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def make_engine(model, config=CONFIG):
    """Every step is checked."""
    engine = Engine(model, byte_tokenizer(), config)
    plain = engine.step

    def step():
        chunks = plain()
        engine.scheduler.check_invariants()
        return chunks

    engine.step = step
    return engine


def greedy(count, **others):
    return SamplingParams(max_tokens=count, temperature=0, ignore_eos=True, **others)


def gate(engine):
    """Hold every step back until it is let through; how many have begun."""
    permits, begun, step = threading.Semaphore(0), threading.Semaphore(0), engine.step

    def gated():
        begun.release()
        permits.acquire()
        return step()

    engine.step = gated
    return permits, begun


def assert_free(engine):
    assert not engine.has_work
    assert engine.scheduler.memory.pool.num_available == engine.scheduler.config.num_blocks


async def text_of(running, prompt, params):
    chunks = [chunk async for chunk in running.generate(prompt, params)]
    return join(chunks).text


@pytest.mark.parametrize("config", [CONFIG, TIGHT])
def test_callers_get_what_the_engine_gives_offline(model, config):
    params = [SamplingParams(max_tokens=12, seed=i, n=1 + i % 2, ignore_eos=True) for i in range(len(PROMPTS))]
    expected = make_engine(model).generate(PROMPTS, params)
    engine = make_engine(model, config)

    async def one(running, prompt, one_params):
        chunks = [chunk async for chunk in running.generate(prompt, one_params)]
        return [join([chunk for chunk in chunks if chunk.index == i]) for i in range(one_params.n)]

    async def main():
        async with AsyncEngine(engine) as running:
            return await asyncio.gather(*(one(running, *pair) for pair in zip(PROMPTS, params, strict=True)))

    got = asyncio.run(main())
    assert got == [list(output.outputs) for output in expected]
    assert_free(engine)


calls = st.lists(
    st.tuples(
        st.integers(0, len(PROMPTS) - 1),
        st.integers(1, 3),  # n
        st.integers(1, 14),  # tokens
        st.none() | st.integers(0, 6),  # chunks after which the caller leaves
        st.integers(0, 4),  # turns of the event loop before it comes
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=20, deadline=None)
@given(calls)
def test_whoever_comes_and_goes_the_others_get_theirs_and_nothing_leaks(model, calls):
    alone = make_engine(model)
    engine = make_engine(model, TIGHT)

    async def one(running, number, n, tokens, leaves_after, turns):
        for _ in range(turns):
            await asyncio.sleep(0)
        params, chunks = SamplingParams(n=n, max_tokens=tokens, seed=number, ignore_eos=True), []
        stream = await running.submit([PROMPTS[number]], params)
        async for chunk in stream:
            if len(chunks) == leaves_after:
                stream.close()
                return None
            chunks.append(chunk)
        return [join([chunk for chunk in chunks if chunk.index == i]).token_ids for i in range(n)]

    async def main():
        async with AsyncEngine(engine) as running:
            return await asyncio.gather(*(one(running, *call) for call in calls))

    for result, (number, n, tokens, _, _) in zip(asyncio.run(main()), calls, strict=True):
        if result is not None:
            params = SamplingParams(n=n, max_tokens=tokens, seed=number, ignore_eos=True)
            (expected,) = alone.generate([PROMPTS[number]], params)
            assert result == [one.token_ids for one in expected.outputs]
    assert_free(engine)


def test_who_stops_reading_or_is_cancelled_frees_what_the_call_held(model):
    engine = make_engine(model)

    async def reads_two(running):
        generator, seen = running.generate(b"one", greedy(90)), 0
        async for _ in generator:
            seen += 1
            if seen == 2:
                break
        await generator.aclose()

    async def main():
        async with AsyncEngine(engine) as running:
            endless = asyncio.create_task(text_of(running, b"another", greedy(90, n=2)))
            await reads_two(running)
            endless.cancel()
            with pytest.raises(asyncio.CancelledError):
                await endless
            assert running.stats().waiting == 0
            assert await text_of(running, b"a third", greedy(3))

    asyncio.run(main())
    assert_free(engine)


def test_who_is_cancelled_before_the_engine_has_heard_leaves_nothing(model):
    engine = make_engine(model)
    permits, begun = gate(engine)

    async def main():
        async with AsyncEngine(engine) as running:
            first = asyncio.create_task(text_of(running, b"first", greedy(3)))
            await asyncio.to_thread(begun.acquire)  # the thread is within a step, and takes no commands
            late = asyncio.create_task(running.submit([b"late"], greedy(3)))
            await asyncio.sleep(0)
            late.cancel()
            with pytest.raises(asyncio.CancelledError):
                await late
            permits.release(100)
            assert await first

    asyncio.run(main())
    assert_free(engine)


def test_prompts_of_a_call_are_accepted_together_or_not_at_all(model):
    engine = make_engine(model)

    async def main():
        async with AsyncEngine(engine, max_waiting=2) as running:
            with pytest.raises(ValueError, match="no room for output"):
                await running.submit([b"good", b"x" * 100], greedy(3))
            with pytest.raises(ValueError, match="token id 300"):
                await running.submit([b"good", [300]], greedy(3))
            with pytest.raises(ValueError, match="ask for 1 to 10"):
                await running.submit([b"good"], greedy(3, n=11))
            assert running.stats().waiting == running.stats().running == 0
            stream = await running.submit([b"good", b"as well"], greedy(3, n=2))
            chunks = [chunk async for chunk in stream]
            assert sorted(stream.choice(chunk) for chunk in chunks) == sorted([*range(4)] * 3)

    asyncio.run(main())
    assert_free(engine)


def test_more_than_may_wait_is_refused_until_there_is_room(model):
    engine = make_engine(model)
    permits, _ = gate(engine)

    async def main():
        async with AsyncEngine(engine, max_waiting=2) as running:
            first = asyncio.create_task(text_of(running, b"first", greedy(3, n=9)))
            await asyncio.sleep(0)
            with pytest.raises(QueueFullError, match="try again later"):
                await running.submit([b"second"], greedy(3, n=2))
            permits.release(100)
            await first
            await text_of(running, b"second", greedy(3, n=2))

    asyncio.run(main())


def test_a_reader_who_is_too_slow_is_cut_and_holds_up_nobody(model):
    engine = make_engine(model)

    async def main():
        async with AsyncEngine(engine, max_unread=8) as running:
            slow = await running.submit([b"slow"], greedy(60))
            assert await text_of(running, b"quick", greedy(40)) == engine_text(b"quick", 40)
            seen = 0
            with pytest.raises(SlowReaderError):  # noqa: PT012
                async for _ in slow:
                    seen += 1
            assert seen == 9

    def engine_text(prompt, count):
        return make_engine(model).generate([prompt], greedy(count))[0].outputs[0].text

    asyncio.run(main())
    assert_free(engine)


def test_a_failed_step_ends_its_calls_and_no_other(model):
    engine = make_engine(model, replace(CONFIG, max_num_seqs=1))
    crash(engine, [3])

    async def main():
        async with AsyncEngine(engine) as running:
            streams = [await running.submit([prompt], greedy(5)) for prompt in (b"first", b"second")]
            chunks = [[chunk async for chunk in stream] for stream in streams]
            assert running.is_healthy
            assert running.stats().failed_steps == 1
            return chunks

    broken, whole = asyncio.run(main())
    assert (broken[-1].finish_reason, broken[-1].error) == (FinishReason.ERROR, "PlantedError: the device is gone")
    (expected,) = make_engine(model).generate([b"second"], greedy(5))
    assert join(whole).token_ids == expected.outputs[0].token_ids
    assert_free(engine)


def dies(engine, error):
    """All who wait get an error, and so do those who come later."""

    async def main():
        async with AsyncEngine(engine, max_failed_steps=2) as running:
            calls = [asyncio.create_task(text_of(running, prompt, greedy(20))) for prompt in PROMPTS]
            results = await asyncio.gather(*calls, return_exceptions=True)
            await asyncio.to_thread(running._thread.join)
            assert not running.is_healthy
            assert not running.is_accepting
            with pytest.raises(EngineDeadError, match=error):
                await running.submit([b"late"], greedy(3))
            return results

    return asyncio.run(main())


def test_steps_that_fail_again_and_again_are_the_end(model):
    engine = make_engine(model, replace(CONFIG, max_num_seqs=2))
    crash(engine, range(4, 100))
    results = dies(engine, "2 steps in a row have failed, the last with: PlantedError: the device is gone")
    assert len(results) == len(PROMPTS)
    assert any(isinstance(result, EngineDeadError) for result in results), "those who waited"


def test_a_fault_outside_a_step_is_the_end(model):
    engine = make_engine(model)
    schedule, steps = engine.scheduler.schedule, []

    def failing():
        steps.append(None)
        if len(steps) == 4:
            raise PlantedError("in the scheduler")
        return schedule()

    engine.scheduler.schedule = failing
    results = dies(engine, "in the scheduler")
    assert [type(result) for result in results] == [EngineDeadError] * len(PROMPTS)


def test_shutdown_finishes_what_was_accepted_and_refuses_the_rest(model):
    engine = make_engine(model)

    async def main():
        async with AsyncEngine(engine) as running:
            calls = [asyncio.create_task(text_of(running, prompt, greedy(20))) for prompt in PROMPTS]
            await asyncio.sleep(0)
            ending = asyncio.create_task(running.shutdown())
            await asyncio.sleep(0)
            assert running.is_healthy
            assert not running.is_accepting
            with pytest.raises(EngineStoppedError):
                await running.submit([b"late"], greedy(3))
            await ending
            return await asyncio.gather(*calls)

    expected = make_engine(model).generate(PROMPTS, greedy(20))
    assert asyncio.run(main()) == [output.outputs[0].text for output in expected]


def test_shutdown_without_draining_ends_all(model):
    engine = make_engine(model)

    async def main():
        async with AsyncEngine(engine) as running:
            stream = await running.submit([b"long"], greedy(90))
            await anext(stream)
            await running.shutdown(drain=False)
            with pytest.raises(EngineStoppedError):
                async for _ in stream:
                    pass
            assert not running._thread.is_alive()

    asyncio.run(main())


def test_an_idle_engine_sleeps(model):
    looks = []

    class Watched(Engine):
        @property
        def has_work(self):
            looks.append(None)
            return super().has_work

    engine = Watched(model, byte_tokenizer(), CONFIG)

    async def main():
        async with AsyncEngine(engine) as running:
            await text_of(running, b"once", greedy(5))
            await asyncio.sleep(0.05)
            before = len(looks)
            await asyncio.sleep(0.2)
            assert len(looks) == before
            await text_of(running, b"and again", greedy(5))

    asyncio.run(main())


class Notes:
    def __init__(self):
        self.first, self.ended = [], []

    def first_token(self, record):
        self.first.append(record)

    def finished(self, record):
        self.ended.append(record)


def test_what_is_measured_of_a_completion(model):
    engine, notes = make_engine(model), Notes()
    prompt = b"a prompt of several blocks"

    async def main():
        async with AsyncEngine(engine, observer=notes) as running:
            cached = []
            for _ in range(2):
                chunks = [chunk async for chunk in running.generate(prompt, greedy(6, n=2))]
                cached.append({chunk.num_cached_tokens for chunk in chunks})
            assert cached == [{0}, {len(prompt) // 4 * 4}]
            stream = await running.submit([prompt], greedy(60))
            await anext(stream)
            stream.close()
            return running.stats()

    stats = asyncio.run(main())
    assert [record.finish_reason.value for record in notes.ended] == ["length"] * 4 + ["abort"]
    assert len(notes.first) == 5
    for record in notes.ended[:4]:
        assert record.arrival <= record.start <= record.first_token <= record.end
        assert (record.prompt_tokens, record.output_tokens) == (len(prompt), 6)
    assert stats.prompt_tokens == 3 * len(prompt)
    assert stats.generated_tokens >= 25
    assert (stats.prefix_queries, stats.prefix_hits) == (3 * len(prompt), 2 * (len(prompt) // 4 * 4))
