"""The kernel's own vocabulary."""

from __future__ import annotations

from aetherra.kernel import messages
from aetherra.kernel.actions import messages as actions
from aetherra.registry import Message, Request, tag_of
from aetherra.registry.messages import message_classes, reply_annotation

CLASSES = [
    value
    for module in (messages, actions)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, Message) and value.__module__ == module.__name__
]


class TestVocabulary:
    def test_a_tag_is_used_twice_or_is_not_the_kernels(self) -> None:
        """Each message has a tag of its own below ``kernel.``."""
        tags = [tag_of(cls) for cls in CLASSES]
        assert len(tags) == len(set(tags))
        assert all(tag.startswith("kernel.") for tag in tags)

    def test_a_request_has_no_reply(self) -> None:
        """Each request names one class of reply."""
        requests = [cls for cls in CLASSES if issubclass(cls, Request)]
        assert len(requests) == 27
        assert all(len(message_classes(reply_annotation(cls))) == 1 for cls in requests)
