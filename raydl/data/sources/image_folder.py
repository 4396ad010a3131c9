"""Images in a folder for each class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset as MapStyle

from raydl.core.errors import SpecError, require
from raydl.data.dataset import Dataset, Split, check_fractions, split_official
from raydl.data.forms.reading import check_processes, read
from raydl.data.sources.decoded import DecodedSource, Survey
from raydl.data.sources.moments import Moments

_AT_ONCE = 64  # images of a piece that is decoded apart, or whose pixels are counted
_PARTS = (("train",), ("validation", "valid", "val"), ("test",))  # what their folders are called


@dataclass(frozen=True)
class ImageFolder(DecodedSource):
    """Images of any format and size, in a folder for each class, such as root/cat/1.jpg.

    Classes are numbered in the order of their folders' names. Where ``root`` has a folder
    ``train``, those of the classes are in it, and in ``validation`` (or ``val``) and ``test``
    beside it. Images are read as RGB, scaled until they just cover a square, and cropped to it
    around their middle, as torchvision's Resize and CenterCrop do; they are kept as uint8, and
    normalized by the mean and the standard deviation of the training pixels, channel by channel.

    Args:
        root: folder of the images.
        size: height and width that they get, in pixels.
        validation: fraction of the samples held out for validation, if there is no folder of them;
            stratified by class.
        test: fraction of the samples held out as the test set, if there is no folder of them.
        split_seed: seed of the choice of the held-out samples.
        processes: number of processes that read; 0 leaves it to this one. By default as many as
            there are cores, if this one would take seconds.
    """

    root: str
    size: int = 64
    validation: float = 0.1
    test: float = 0.2
    split_seed: int = 0
    processes: int | None = None

    def __post_init__(self) -> None:
        require("://" not in self.root, "data.root", self.root, "a local folder")
        require(self.size >= 1, "data.size", self.size, "1 or larger")
        check_fractions(self.validation, self.test)
        check_processes(self.processes)

    def load(self) -> Dataset:
        """Reads the images.

        Raises:
            SpecError: if there are none, one cannot be read, or a part has classes of its own.
        """
        survey = self.survey()
        paths = [*chain.from_iterable(survey.pieces)]
        files = [*zip(paths, survey.targets.tolist(), strict=True)]
        images, targets = read(_Images(files, self.size), self.processes)
        assert isinstance(images, Tensor)
        whole = Split(images, targets)
        every = Dataset(survey.name, whole, whole.none(), whole.none(), survey.classes)
        held_out = (self.validation, self.test, self.split_seed)
        parts = split_official(every, survey.sizes, *held_out)
        moments = Moments()
        assert isinstance(parts.train.inputs, Tensor)
        for some in parts.train.inputs.split(_AT_ONCE):
            moments.add(some)
        return moments.normalize(parts)

    def survey(self) -> Survey:
        """Lists the images, and numbers their classes.

        Raises:
            SpecError: if there are none, or a part has classes of its own.
        """
        root = Path(self.root).expanduser().absolute()
        require(root.is_dir(), "data.root", self.root, "a folder that is there")
        parted = (root / "train").is_dir()
        folders = [_find(root, names) for names in _PARTS] if parted else [root, None, None]
        classes = _class_folders(folders[0] or root)
        files = [[] if each is None else _list_images(each, classes) for each in folders]
        paths, targets = zip(*chain.from_iterable(files), strict=True)
        pieces = [paths[at : at + _AT_ONCE] for at in range(0, len(paths), _AT_ONCE)]
        sizes = [len(each) for each in files]
        return Survey(root.name, torch.tensor(targets), len(classes), sizes, pieces)

    def decode(self, piece: Sequence[Path]) -> Iterator[Tensor]:
        """Reads some images, uint8 [B, size, size, 3]."""
        images = []
        for path in piece:
            try:
                images.append(_read_image(path, self.size))
            except (OSError, ValueError, SyntaxError) as error:  # as Pillow's formats have it
                raise SpecError(f"the image {path} cannot be read: {error}") from error
        yield torch.from_numpy(np.stack(images))


def _find(root: Path, names: Sequence[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _class_folders(folder: Path) -> list[str]:
    """The names of the folders of the classes, in their order."""
    inside = (each for each in folder.iterdir() if each.is_dir() and each.name[0] != ".")
    classes = sorted(each.name for each in inside)
    if not classes:
        raise SpecError(
            f"data.root has no folders in {folder}; there must be one for each class, of its images"
        )
    return classes


def _list_images(folder: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """The images below a folder, each with its class.

    Raises:
        SpecError: if there is none of a class, or a folder of no class.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS

    images = []
    for name in _class_folders(folder):
        if name not in classes:
            raise SpecError(
                f"data.root has a folder {folder / name}, but {name!r} is no class of the training "
                f"images; those are {', '.join(classes)}"
            )
        target = classes.index(name)
        own = sorted(
            each for each in (folder / name).rglob("*") if each.suffix.lower() in IMG_EXTENSIONS
        )
        if not own:
            raise SpecError(
                f"data.root has no images in {folder / name}; it must have some of each class, of "
                f"the formats {', '.join(IMG_EXTENSIONS)}"
            )
        images += [(each, target) for each in own]
    return images


class _Images(MapStyle[tuple[npt.NDArray[np.uint8], int]]):
    """Images of files as uint8 [size, size, 3], each with its class."""

    def __init__(self, files: Sequence[tuple[Path, int]], size: int) -> None:
        self._files, self._size = files, size

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> tuple[npt.NDArray[np.uint8], int]:
        path, target = self._files[number]
        return _read_image(path, self._size), target


def _read_image(path: Path, size: int) -> npt.NDArray[np.uint8]:
    """An image as uint8 [size, size, 3]."""
    from torchvision.datasets.folder import pil_loader
    from torchvision.transforms.v2 import functional

    covering = functional.resize(pil_loader(str(path)), [size])
    return np.asarray(functional.center_crop(covering, [size]))
