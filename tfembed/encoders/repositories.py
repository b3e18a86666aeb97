"""Repositories of the Hugging Face Hub with a model of timm, downloaded once."""

from pathlib import Path

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def fetch(repository: str) -> Path:
    """Download a model of timm, unless it is here already.

    Huggingface_hub keeps it in its cache, shows progress, and puts a file there once it is whole.

    Args:
        repository: Such as `timm/resnet18.a1_in1k`; `timm/resnet18.a1_in1k@main` names a version.

    Returns:
        The folder that `config.json` and `model.safetensors` lie in.

    Raises:
        ValueError: If there is no such repository, or it has no such files.
        ConnectionError: If it cannot be reached.
    """
    import huggingface_hub
    from huggingface_hub import errors

    name, _, revision = repository.partition("@")
    try:
        paths = [huggingface_hub.hf_hub_download(name, file, revision=revision or None) for file in (CONFIG, WEIGHTS)]
    except errors.HFValidationError as error:
        raise ValueError(f"hf://{repository} is no repository: {_short(error)} Expected hf://OWNER/NAME.") from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError) as error:
        raise ValueError(
            f"hf://{repository} cannot be had: {_short(error)} Look for its name on https://huggingface.co/{name}."
        ) from error
    except (OSError, errors.EntryNotFoundError) as error:
        raise ConnectionError(
            f"Cannot download hf://{repository}: {_short(error)} Fetch {CONFIG} and {WEIGHTS} from "
            f"https://huggingface.co/{name}/tree/{revision or 'main'} on a machine that can, put both into one folder, "
            "and pass the folder."
        ) from error
    return Path(paths[0]).parent


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200].removesuffix(".") + "."
