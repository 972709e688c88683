"""Pure: the text of server-sent events → emotion events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from emostream.domain.event import EmotionEvent
from emostream.wire.events import event_from_json

_MAX_LINE_BYTES = 1 << 22  # longer than any event


@dataclass(slots=True)
class ServerSentEvents:
    """Takes bytes as they arrive.

    Attributes:
        last_id: of the last event given out; reading goes on after it.
        is_over: the service said that nothing follows.
        is_answered: something came over the present connection, if only that there is nothing new.
    """

    last_id: str = ""
    is_over: bool = False
    is_answered: bool = False
    _rest: bytes = b""
    _fields: dict[str, str] = field(default_factory=dict)

    def begin(self) -> None:
        """A new connection: what was left half of the one before comes again."""
        self.is_answered = False
        self._rest = b""
        self._fields = {}

    def take(self, data: bytes) -> Iterator[EmotionEvent]:
        """The events that are complete with this data.

        Raises:
            EventRejectedError: an event cannot be understood.
        """
        self.is_answered = True
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MAX_LINE_BYTES:
            self._rest = b""
        for raw in lines:
            line = raw.decode(errors="replace").rstrip("\r")
            if line:
                name, _, value = line.partition(":")
                self._fields[name] = value.removeprefix(" ")
            elif (event := self._finished()) is not None:
                yield event

    def _finished(self) -> EmotionEvent | None:
        fields, self._fields = self._fields, {}
        if fields.get("event") == "end":
            self.is_over = True
        if fields.get("event") != "emotion" or "data" not in fields:
            return None
        event = event_from_json(fields["data"])
        self.last_id = fields.get("id", self.last_id)
        return event
