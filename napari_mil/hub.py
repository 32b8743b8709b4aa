"""Fetching weights from a hub: at once where they lie here, and no waiting for a network that is not there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


@contextmanager
def hub_as_reachable() -> Iterator[None]:
    """Keep the hub's package from trying for half a minute where its server's name is not even known here.

    What lies in its cache is then used as it is.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or _known(urlsplit(constants.ENDPOINT).hostname):
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False


def why_not(name: str, err: BaseException, *, otherwise: str) -> str | None:
    """Say in one sentence why weights could not be had, and what to do.

    Parameters
    ----------
    name : str
        The encoder's, for the message.
    err : exception
        What the hub's package raised, or one raised from it.
    otherwise : str
        What else one can do than connect, a clause.

    Returns
    -------
    str or None
        None where the error is of another kind.
    """
    kinds, texts, refused = "", "", False
    cause: BaseException | None = err
    while cause is not None:
        kinds += " ".join(cls.__name__ for cls in type(cause).__mro__)
        texts += str(cause)
        refused |= getattr(getattr(cause, "response", None), "status_code", None) in (401, 403)
        cause = cause.__cause__ or cause.__context__
    if refused or "Gated" in kinds or "401 Client Error" in texts or "403 Client Error" in texts:
        return (
            f"The weights of {name} are given out on request only. Ask for access on its Hugging Face page and sign in "
            "with: hf auth login"
        )
    if (
        any(w in kinds for w in ("Connect", "Timeout", "Offline", "EntryNotFound", "HTTP", "Http"))
        or "connect to" in texts
    ):
        return f"The weights of {name} could not be fetched. Connect to the internet once{otherwise}."
    return None


def _known(host: str | None) -> bool:
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or host is None:
        return True  # the proxy knows
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True
