"""How a job says that it cannot go on."""

from __future__ import annotations


class JobError(Exception):
    """A job cannot go on. `code`: short identifier; the message is one sentence that says what to do."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
