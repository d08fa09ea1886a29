"""The two figures of a prompt: the estimate that is shown, and the ceiling that is held. PURE.

They are never mixed. The provider's own usage is the truth, and passes by this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chat_app.schema import ChatCall, Message
    from tenants_app.snapshots import ModelSnapshot

CHARACTERS_PER_TOKEN = 4
# Roles and separators that a chat template puts around every message.
TOKENS_PER_MESSAGE = 8
# hold_bytes_per_token has three decimals; counting in thousandths keeps the division whole.
_SCALE = 1000


def estimate(messages: Iterable[Message]) -> int:
    """Tokens to show for a prompt, and to charge when the provider reports nothing."""
    return sum(estimate_characters(len(message.content)) for message in messages)


def estimate_characters(characters: int) -> int:
    """Tokens to show for one text of so many characters: a quarter of them, rounded up."""
    return -(-characters // CHARACTERS_PER_TOKEN)


def wanted_output(call: ChatCall, model: ModelSnapshot) -> int:
    """Tokens of an answer that the client asked for, else the model's default; not capped."""
    return call.max_tokens or model.default_output


def ceiling_input(messages: Iterable[Message], model: ModelSnapshot) -> int:
    """Tokens to hold for a prompt, before images.

    No byte-level tokenizer makes more tokens than bytes, so with the default ratio of 1 a prompt
    never has more, but for what the model's template adds, which an operator states in `model`. The
    ratio may be loosened there, too.
    """
    size, overhead = 0, model.template_tokens
    for message in messages:
        size += len(message.content.encode())
        overhead += TOKENS_PER_MESSAGE
    ratio = int(model.hold_bytes_per_token * _SCALE)
    return -(-size * _SCALE // ratio) + overhead
