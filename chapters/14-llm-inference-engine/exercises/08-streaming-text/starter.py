"""Text from tokens while they come: no character in halves, nothing of a stop string."""

from collections.abc import Iterable


class Detokenizer:
    """The text of one request, as soon as it is certain.

    A token is a run of bytes of UTF-8 text; a character may be spread over
    several tokens. Whatever can't be decoded becomes U+FFFD, as in
    bytes.decode("utf-8", errors="replace") of all bytes at once.

    Args:
        stop: strings that end the text; none of them empty or with a U+FFFD.
    """

    def __init__(self, stop: list[str]):
        self.stop = stop
        self.met: str | None = None  # the stop string that was met

    def push(self, token: bytes) -> str:
        """Return the text that has become certain by this token, perhaps "".

        - A character is certain when it is complete, a U+FFFD when no further
          byte can make a character of its bytes.
        - Of the certain characters so far, the longest end that is the
          beginning of a stop string, but not all of it, is held back; all
          before it is returned, at once.
        - The stop string that is complete first ends the text; of several that
          are complete with the same character, the longest. It goes to `met`,
          what stands before it is returned, and every later push returns "".
        """
        raise NotImplementedError

    def finish(self) -> str:
        """Return what is still held back, as no more tokens come.

        The bytes of an unfinished character become U+FFFD. Behind a stop
        string there is nothing: "".
        """
        raise NotImplementedError


def stream(tokens: Iterable[bytes], stop: list[str]) -> tuple[list[str], str | None]:
    """Return the pieces, one a token and a last one, and the stop string met.

    The check calls this; leave it as it is.
    """
    detokenizer = Detokenizer(stop)
    pieces = [detokenizer.push(token) for token in tokens]
    return [*pieces, detokenizer.finish()], detokenizer.met
