"""What goes to the Hub: a run's folder, or the zip of a fine-tune, with its card and the licence that the card names.

Weights without a card that says under which licence they are, and files of any other kind, stay where they are.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path, PurePosixPath

from huggingface_hub import CommitOperationAdd, HfApi

from gramviz.checkpoints.hub import REPOSITORY, endpoint, told_by_hub
from gramviz.errors import CheckpointError

CARD = "README.md"
KINDS = (".safetensors", ".json", ".jsonl", ".md", ".png", ".svg", ".txt")
MOST_FILES, MOST_BYTES = 200, 8 * 2**30
_LICENCE = re.compile(r"\A---\n(?:.*\n)*?license:\s*(\S.*)\n(?:.*\n)*?---\n")


def parcel_of(source: Path) -> dict[str, bytes | Path]:
    """Path in the repository -> content, or the file that has it, of a folder or a zip; checked to be complete.

    Raises CheckpointError where there is no card, no licence in it, no weights, or something that is not passed on.
    """
    if source.is_dir():
        files: dict[str, bytes | Path] = {
            path.relative_to(source).as_posix(): path for path in sorted(source.rglob("*")) if path.is_file()
        }
    elif source.suffix == ".zip" and source.is_file():
        files = dict(_unzipped(source))
    else:
        raise CheckpointError(f"{source.name!r} is neither a folder nor a zip of a fine-tune.")
    for name in files:
        if PurePosixPath(name).suffix not in KINDS or name.startswith((".", "/")) or ".." in name:
            raise CheckpointError(
                f"{name[:120]!r} is not passed on; what may be are {', '.join(KINDS)} files."
            )
    if len(files) > MOST_FILES:
        raise CheckpointError(f"There are {len(files)} files; at most {MOST_FILES} are passed on.")
    if not any(name.endswith(".safetensors") for name in files):
        raise CheckpointError(f"{source.name!r} holds no safetensors file.")
    licence_of(files)
    return files


def licence_of(files: dict[str, bytes | Path]) -> str:
    """The licence that the card names. Raises CheckpointError where it names none."""
    card = files.get(CARD)
    if card is None:
        raise CheckpointError(f"There is no {CARD}; weights are passed on with their card only.")
    text = card.decode(errors="replace") if isinstance(card, bytes) else card.read_text(encoding="utf-8")
    found = _LICENCE.match(text)
    if not found:
        raise CheckpointError(f"The {CARD} names no licence in its front matter (license: ...).")
    return found[1].strip()


def push(source: Path, repository: str, *, private: bool = True, token: str | None = None) -> str:
    """Upload in one commit, into a repository that is made if there is none; its address.

    Raises CheckpointError in one sentence for what is not complete, and for whatever the Hub refuses.
    """
    if not REPOSITORY.fullmatch(repository) or ".." in repository:
        raise CheckpointError(f"{repository[:120]!r} is no repository; write owner/name.")
    files = parcel_of(source)
    with told_by_hub(repository):
        hub = HfApi(endpoint=endpoint(), token=token)
        hub.create_repo(repository, private=private, exist_ok=True)
        made = hub.create_commit(
            repository,
            [CommitOperationAdd(name, content) for name, content in files.items()],
            commit_message=f"{source.stem}, by gramviz",
        )
    return str(made.commit_url)


def _unzipped(source: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if member.filename[-1:] not in ("", "/")]
            if sum(member.file_size for member in members) > MOST_BYTES:
                raise CheckpointError(f"{source.name!r} is larger than what is passed on.")
            return {member.filename: archive.read(member) for member in members}
    except CheckpointError:
        raise
    except Exception as error:  # zipfile answers hostile bytes with nearly every type there is
        raise CheckpointError(f"{source.name!r} is not a readable zip file.") from error
