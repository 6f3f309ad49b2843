"""Keeps uploaded files where a run finds them again, also after a crash and in another process."""

import hashlib
from pathlib import Path

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile


def keep(upload: UploadedFile) -> Path:
    """Store a file under a name made of its content; the same file is stored once."""
    folder = Path(settings.DATA_DIR) / "uploads"
    folder.mkdir(exist_ok=True)
    digest = hashlib.sha256()
    for chunk in upload.chunks():
        digest.update(chunk)
    path = folder / f"{digest.hexdigest()}.csv"
    if not path.exists():
        upload.seek(0)
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb") as file:
            file.writelines(upload.chunks())
        unfinished.replace(path)
    return path
