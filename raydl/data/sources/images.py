"""A folder of images, one folder within for each class."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from raydl.core.errors import SpecError, require
from raydl.data.sources.decoded import DecodedSource, Survey

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
_PIECE = 64  # images that are decoded apart from others


@dataclass(frozen=True)
class ImageFolder(DecodedSource):
    """Images in a folder for each class, as torchvision's ``ImageFolder`` lays them out.

    Args:
        root: folder of the classes' folders, which are numbered in alphabetical order; an image may
            lie deeper. Of a cluster, all machines must have it.
        size: height and width, in pixels, that images are cropped about their centre and scaled to;
            as they are if not given, which must then be equal.
        channels: 3 for colour, 1 for grey.
    """

    root: str
    size: int | None = None
    channels: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.size is None or self.size >= 1
        require(given, "data.size", self.size, "1 or larger, in pixels")
        require(self.channels in (1, 3), "data.channels", self.channels, "3 (colour) or 1 (grey)")
        remote = "a local folder, which all machines of a cluster share"
        require("://" not in self.root, "data.root", self.root, remote)

    @property
    def title(self) -> str:
        """The folder's name."""
        return self._root.name

    @property
    def _root(self) -> Path:
        return Path(self.root).expanduser().absolute()

    def survey(self) -> Survey:
        """Lists the images; their folders are their classes."""
        root = self._root
        folders = sorted(each for each in root.iterdir() if each.is_dir()) if root.is_dir() else []
        found = [
            (str(path), label)
            for label, folder in enumerate(folders)
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in _SUFFIXES
        ]
        if not found:
            raise SpecError(
                f"data.root is {self.root!r}, but {root} has no folders with images; it must have "
                "one for each class"
            )
        paths, labels = zip(*found, strict=True)
        pieces = [list(paths[at : at + _PIECE]) for at in range(0, len(paths), _PIECE)]
        return Survey(torch.tensor(labels), len(folders), pieces)

    def decode(self, piece: list[str]) -> Iterator[Tensor]:
        """Reads images, uint8 [B, H, W, C]."""
        images = [self._read(path) for path in piece]
        for path, image in zip(piece, images, strict=True):
            if image.shape != images[0].shape:
                raise SpecError(
                    f"{path} has {image.shape[0]} × {image.shape[1]} pixels, but {piece[0]} "
                    f"{images[0].shape[0]} × {images[0].shape[1]}; set data.size"
                )
        yield torch.stack(images)

    def _read(self, path: str) -> Tensor:
        from PIL import Image, ImageOps

        try:
            with Image.open(path) as file:
                image = file.convert("RGB" if self.channels == 3 else "L")
        except (OSError, ValueError, SyntaxError) as error:
            raise SpecError(f"the image {path} cannot be read: {error}") from error
        if self.size is not None:
            image = ImageOps.fit(image, (self.size, self.size))
        pixels = torch.from_numpy(np.array(image))
        return pixels if self.channels == 3 else pixels.unsqueeze(-1)
