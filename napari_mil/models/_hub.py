"""Models of the Hugging Face hub, by names like ``hf:owner/name@revision/file``: fetched once, then from its cache.

What comes from there is opened as any other file is: safetensors, or weights alone.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import ModelError
from ..hub import hub_as_reachable

HUB = "hf:"
MODEL_ENDINGS = (".safetensors", ".pt", ".pth")
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM})
_FORMS = "Write hf:owner/name, or hf:owner/name@revision/file."
_USUAL = "model.safetensors"  # as `train` calls it
_NAME = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>refs/\w+/\w+|[^/@]+))?(?:/(?P<file>[^@]+))?")


@dataclass(frozen=True, slots=True)
class HubName:
    """Where on the hub a model is.

    Parameters
    ----------
    repo : str
        ``owner/name``.
    revision : str or None
        Branch, tag or commit; None is the hub's own default.
    file : str
        Path in the repository; empty where the name does not say it.
    """

    repo: str
    revision: str | None
    file: str


def is_on_hub(name: str | os.PathLike[str]) -> bool:
    """Tell whether a name means a model of the hub ("hf:owner/name")."""
    return os.fspath(name).startswith(HUB)


def parse_hub_name(name: str) -> HubName:
    """Return the parts of ``hf:owner/name[@revision][/file]``.

    Parameters
    ----------
    name : str
        The name.

    Returns
    -------
    HubName
        Its parts.

    Raises
    ------
    ModelError
        If it is no such name, or the file is of no kind that holds a model.
    """
    found = _NAME.fullmatch(name)
    if found is None or ".." in name:
        raise ModelError(f"{name!r} is no name of a model on the hub. {_FORMS}")
    file = found["file"] or ""
    if file and PurePosixPath(file).suffix.lower() not in MODEL_ENDINGS:
        raise ModelError(f"{file} on the hub is no model file. Name one that ends in {', '.join(MODEL_ENDINGS)}.")
    return HubName(found["repo"], found["revision"], file)


def fetch_model(name: str) -> Path:
    """Return the file of a model of the hub: from the hub's cache where it lies there, else fetched into it.

    Parameters
    ----------
    name : str
        ``hf:owner/name[@revision][/file]``. Without a file it is ``model.safetensors``, or else the only model file of
        the repository. Without a revision what the cache holds is used even where the hub has a newer one.

    Returns
    -------
    Path
        In the hub's cache; its folder is named after the commit.

    Raises
    ------
    ModelError
        If the name is none, the package is missing, or the file cannot be had; says which, and what to do.
    """
    wanted = parse_hub_name(name)
    try:
        import huggingface_hub as hub
        from huggingface_hub import errors
    except ImportError as error:
        raise ModelError(
            "Models of the Hugging Face hub need the package huggingface_hub. Install it: "
            "pip install 'napari-mil[encoders]'."
        ) from error
    failures: tuple[type[BaseException], ...] = (OSError, ValueError, errors.EntryNotFoundError, *_http_errors())
    try:
        cached = hub.try_to_load_from_cache(wanted.repo, wanted.file or _USUAL, revision=wanted.revision)
        if isinstance(cached, str):
            return Path(cached)
        with hub_as_reachable():
            file = wanted.file or _only_model(wanted, _listed(wanted))
            return Path(hub.hf_hub_download(wanted.repo, file, revision=wanted.revision))
    except failures as error:
        raise ModelError(_explain(name, wanted, error)) from error


def _http_errors() -> tuple[type[Exception], ...]:
    """Return what the package through which the hub speaks HTTP raises; which package that is changes by version."""
    from huggingface_hub.errors import HfHubHTTPError

    return tuple(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception))


def _listed(wanted: HubName) -> list[str]:
    """Return the files of a repository; without a network those that the cache holds of it."""
    import huggingface_hub as hub
    from huggingface_hub import errors

    no_answer: tuple[type[BaseException], ...] = (OSError, *_http_errors())
    try:
        return hub.list_repo_files(wanted.repo, revision=wanted.revision)
    except errors.HfHubHTTPError:
        raise  # the hub has answered
    except no_answer:
        folder = Path(hub.snapshot_download(wanted.repo, revision=wanted.revision, local_files_only=True))
        return [path.relative_to(folder).as_posix() for path in folder.rglob("*")]


def _only_model(wanted: HubName, files: Iterable[str]) -> str:
    """Return which of a repository's files is meant where the name does not say it."""
    models = sorted(file for file in files if PurePosixPath(file).suffix.lower() in MODEL_ENDINGS)
    usual = [file for file in models if file == _USUAL]
    tensors = [file for file in models if file.lower().endswith(".safetensors")]
    for likely in (usual, tensors, models):
        if len(likely) == 1:
            return likely[0]
    if not models:
        raise ModelError(f"{wanted.repo} on the hub holds no model file ({', '.join(MODEL_ENDINGS)}). Choose another.")
    at = f"@{wanted.revision}" if wanted.revision else ""
    shown = ", ".join(models[:5]) + (", …" if len(models) > 5 else "")
    raise ModelError(
        f"{wanted.repo} on the hub holds {len(models)} model files ({shown}). "
        f"Name one: {HUB}{wanted.repo}{at}/{models[0]}."
    )


def _explain(name: str, wanted: HubName, error: BaseException) -> str:
    """Say in a sentence why a model could not be had, and what to do."""
    from huggingface_hub import constants, errors

    page = f"https://huggingface.co/{wanted.repo}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError) or status == 403:
        return f"{wanted.repo} is given out on request only. Ask for access at {page} and sign in with: hf auth login."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{wanted.repo} has no revision {wanted.revision!r}. Leave it out, or look it up at {page}/commits."
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return f"{wanted.repo} has no file {wanted.file}. Look its name up at {page}/tree/{wanted.revision or 'main'}."
    if isinstance(error, errors.RepositoryNotFoundError) or status == 401:
        return (
            f"There is no repository {wanted.repo} on the Hugging Face hub, or it is private. Check the name; for a "
            "private one sign in with: hf auth login."
        )
    if isinstance(error, errors.HFValidationError):
        return f"{name!r} is no name of a model on the hub. {_FORMS}"
    if isinstance(error, OSError) and error.errno in _DISK:
        return (
            f"{name} could not be kept in the hub's cache {constants.HF_HUB_CACHE} ({error.strerror}). Make room or "
            "choose another with HF_HUB_CACHE."
        )
    return (
        f"{name} is not in the hub's cache on this machine and could not be fetched. Connect to the internet once, or "
        "copy the model file here and give its path."
    )
