"""From a name to files: timm's names and Hub repositories, described before they are fetched, and fetched when asked.

Every way in which the Hub can refuse is one sentence. Only `config.json` and `model.safetensors` are ever asked for:
nothing pickled comes near. Knows neither networks nor manifests.
"""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tqdm.auto import tqdm

from gramviz.errors import CheckpointError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PREFIX = "hf-hub:"
MOST_BYTES = 8 * 2**30  # of a file of weights
NO_WAY = "there is no way to the Hub"
CARRIERS = ("httpx", "httpcore", "huggingface_hub")  # modules whose errors are those of a line
REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_REVISION = re.compile(r"[\w./-]{1,128}")


@dataclass(frozen=True)
class Offer:
    """What a repository has to give, before anything of it is fetched.

    name: what was asked for, without the prefix. revision: the commit. licence: as its card says, "" where it does
    not. size: bytes of both files.
    """

    name: str
    repository: str
    revision: str
    licence: str
    size: int


def repository_of(source: str) -> tuple[str, str, str | None]:
    """(name, repository, revision or None) of a timm name or of "hf-hub:owner/name", with "@revision" or without.

    Raises CheckpointError for what is neither.
    """
    if source.startswith(PREFIX):
        repository, _, revision = source.removeprefix(PREFIX).partition("@")
        if (
            not REPOSITORY.fullmatch(repository)
            or ".." in source
            or (revision and not _REVISION.fullmatch(revision))
        ):
            raise CheckpointError(f"{source[:120]!r} is no repository; write hf-hub:owner/name.")
        return repository, repository, revision or None
    try:
        known = timm.models.get_pretrained_cfg(source) if timm.is_model(source) else None
    except RuntimeError:  # a network that timm knows, with weights that it does not
        known = None
    if known is None or not known.hf_hub_id:
        raise CheckpointError(
            f"timm {timm.__version__} knows no weights named {source[:120]!r}; write hf-hub:owner/name for a "
            "repository, or a path for a folder or a file. `gramviz models --zoo` lists some that there are."
        )
    identifier = str(known.hf_hub_id)
    name = source if "." in source or not known.tag else f"{source}.{known.tag}"
    return name, identifier if identifier != "timm/" else f"timm/{name}", None


def offer_of(source: str, *, token: str | bool | None = None) -> Offer:
    """Ask the Hub what it has. token: None for the one of whoever is logged in on this machine, False for none.

    Raises CheckpointError where it has nothing that can be used, in one sentence.
    """
    name, repository, revision = repository_of(source)
    with told_by_hub(repository, token):
        found = HfApi(endpoint=endpoint(), token=token).model_info(
            repository, revision=revision, files_metadata=True, timeout=20
        )
    sizes = {file.rfilename: file.size for file in found.siblings or ()}
    for file in (CONFIG, WEIGHTS):
        if file not in sizes:
            pickled = any(other.endswith((".bin", ".pt", ".pth", ".ckpt")) for other in sizes)
            why = " It has pickled weights only, which can run code and are never opened." if pickled else ""
            raise CheckpointError(f"{repository} has no {file}, which is needed.{why}")
    size = sum(sizes[file] or 0 for file in (CONFIG, WEIGHTS))
    if size > MOST_BYTES:
        raise CheckpointError(
            f"{repository} has {size / 2**30:.1f} GiB of weights; at most {MOST_BYTES / 2**30:.0f} GiB are taken."
        )
    card = found.card_data
    licence = str((card.get("license_name") or card.get("license")) if card else "") or ""
    return Offer(name, repository, str(found.sha), "" if licence == "None" else licence, size)


def fetch(
    offer: Offer,
    *,
    cache: Path | None = None,
    token: str | bool | None = None,
    told: Callable[[int], None] | None = None,
) -> tuple[Path, Path]:
    """Both files, fetched into the Hub's own cache, resumed where an earlier try broke off: (configuration, weights).

    told: is called with the bytes of the present file that are there, often, and breaks the download off by raising;
    without it a bar is drawn on stderr. Raises CheckpointError in one sentence.
    """
    with told_by_hub(offer.repository, token):
        config, weights = (
            Path(
                hf_hub_download(
                    offer.repository,
                    file,
                    revision=offer.revision,
                    cache_dir=cache,
                    token=token,
                    endpoint=endpoint(),
                    tqdm_class=None if told is None else telling(told),
                )
            )
            for file in (CONFIG, WEIGHTS)
        )
    return config, weights


def telling(told: Callable[[int], None]) -> type[tqdm]:
    """A progress bar that draws nothing and tells how far it is."""

    class Telling(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "file": io.StringIO()})

        def update(self, n: float | None = 1) -> bool | None:
            moved: bool | None = super().update(n)
            told(int(self.n))
            return moved

    return Telling


def endpoint() -> str | None:
    """Another Hub, where the environment names one; read at each call, not once at import."""
    return os.environ.get("HF_ENDPOINT") or None


@contextmanager
def told_by_hub(repository: str, token: str | bool | None = None) -> Iterator[None]:
    """What went wrong, in a sentence that says what would help; token: False where nobody's login is used."""
    remedy = "log in with `hf auth login`"
    if token is False:
        remedy = "add it where this service runs, with a login and `gramviz models --add`"
    try:
        yield
    except GatedRepoError as error:
        raise CheckpointError(
            f"{repository} is gated: accept its terms on its page, then {remedy}."
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"{repository} has no such revision.") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"There is no repository {repository} that may be seen; check its name, or {remedy}."
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise CheckpointError(
            f"{repository} could not be fetched: {NO_WAY}, and it is not in the cache."
        ) from error
    except EntryNotFoundError as error:
        raise CheckpointError(
            f"{repository} lacks a file that its listing named; try again later."
        ) from error
    except HFValidationError as error:
        raise CheckpointError(f"{repository[:120]!r} is no name of a repository.") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise CheckpointError(f"The Hub refuses {repository} ({status}); {remedy}.") from error
        raise CheckpointError(
            f"The Hub could not give {repository} (status {status}); try again later."
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CheckpointError(f"The disk is full; {repository} could not be kept.") from error
        if not isinstance(error, OSError) and not type(error).__module__.startswith(CARRIERS):
            raise
        raise CheckpointError(f"{repository} could not be fetched: {NO_WAY}.") from error
