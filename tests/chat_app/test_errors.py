"""The codes and sentences that docs/reference/errors.md promises for chat."""

import pytest

from chat_app.errors import AiError, AiTimeout, ModelNotAllowed, ModelUnknown
from tenants_app.errors import TollgateError


@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (ModelNotAllowed, 403, "model_not_allowed", "This tenant may not use this model."),
        (ModelUnknown, 404, "model_unknown", "There is no such model."),
        (AiError, 502, "ai_error", "AI provider unavailable"),
        (AiTimeout, 504, "ai_timeout", "AI provider did not answer in time"),
    ],
)
def test_error_has_its_status_code_and_sentence(
    error: type[TollgateError], status: int, code: str, message: str
) -> None:
    raised = error()
    assert (raised.status_code, raised.code, raised.message) == (status, code, message)
