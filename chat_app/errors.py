"""What chat_app refuses or reports, as the client sees it.

What exactly an upstream did wrong is in providers/base.py, and never leaves the house.

TollgateError
├── Forbidden
│   └── ModelNotAllowed   403 model_not_allowed
├── NotFound
│   └── ModelUnknown      404 model_unknown
├── AiError               502 ai_error
└── AiTimeout             504 ai_timeout
"""

from tenants_app.errors import Forbidden, NotFound, TollgateError


class ModelNotAllowed(Forbidden):
    """This tenant may not use this model."""

    default_code = "model_not_allowed"


class ModelUnknown(NotFound):
    """There is no such model."""

    default_code = "model_unknown"


class AiError(TollgateError):
    """AI provider unavailable"""

    status_code = 502
    default_code = "ai_error"


class AiTimeout(TollgateError):
    """AI provider did not answer in time"""

    status_code = 504
    default_code = "ai_timeout"
