"""The queue against a sorted list: sequences come out in the order of their ranks, whoever leaves or comes back."""

from hypothesis import given
from hypothesis import strategies as st
from paper_runner import make_sequence
from sysai.serving.core.sequence_queue import SequenceQueue

ACTIONS = st.one_of(
    st.tuples(st.just("push"), st.integers(0, 3)),  # its place in the order, which others may have, too
    st.tuples(st.just("pop"), st.just(0)),
    st.tuples(st.just("remove"), st.integers(0, 20)),
    st.tuples(st.just("come back"), st.integers(0, 20)),
)


@given(st.lists(ACTIONS, max_size=40))
def test_sequences_come_out_in_order(actions):
    queue, waiting, left = SequenceQueue(), [], []
    for number, (action, value) in enumerate(actions):
        if action == "push":
            sequence = make_sequence(str(number), [0], 1)
            sequence.rank = (float(value), number)
            queue.push(sequence)
            waiting.append(sequence)
        elif action == "pop" and waiting:
            assert queue.first() is waiting[0]
            assert queue.pop() is waiting[0]
            left.append(waiting.pop(0))
        elif action == "remove" and waiting:
            left.append(waiting.pop(value % len(waiting)))
            queue.remove(left[-1])
        elif action == "come back" and left:  # as a sequence does that is preempted
            waiting.append(left.pop(value % len(left)))
            queue.push(waiting[-1])
        waiting.sort(key=lambda sequence: sequence.rank)
        assert list(queue) == waiting
        assert len(queue) == len(waiting)
        assert all(sequence in queue for sequence in waiting)
        assert not any(sequence in queue for sequence in left)
