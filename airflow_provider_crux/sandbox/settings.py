"""What can be set about a sandbox: who may call it, and how long things take and last."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class SandboxSettings:
    """How one sandbox behaves. Its secrets are made up, and are left out of ``repr`` all the same.

    :param token: a token that never expires and may do everything (default: the one in the vendor's
        documented commands, so that these are accepted as they stand)
    :param user: who may log in (default ``sandbox``)
    :param password: that user's password (default ``sandbox``)
    :param viewer_token: a token that never expires and lacks the permission ``export_order``: asking for an
        export with it answers 403 (default: ``viewer`` and zeros, 40 characters)
    :param viewer_user: a user with the same lack (default ``viewer``)
    :param viewer_password: that user's password (default ``viewer``)
    :param token_lifetime: seconds that a token obtained by login is accepted (default 7200, the vendor's two
        hours)
    :param export_seconds: seconds from the call for an export until it is done; None for never by itself, only
        by :meth:`~airflow_provider_crux.sandbox.state.Sandbox.finish_export` (default 0: done when first asked)
    :param url_lifetime: whole seconds that a presigned URL is accepted (default 300)
    :param answer_seconds: seconds from when a request has been carried out until its answer is sent (default 0)
    """

    token: str = field(default="d7bb2fbb0c666dee5a5a36634baac3114e08ba9c", repr=False)
    user: str = "sandbox"
    password: str = field(default="sandbox", repr=False)
    viewer_token: str = field(default="viewer".ljust(40, "0"), repr=False)
    viewer_user: str = "viewer"
    viewer_password: str = field(default="viewer", repr=False)
    token_lifetime: float = 7200
    export_seconds: float | None = 0
    url_lifetime: int = 300
    answer_seconds: float = 0
