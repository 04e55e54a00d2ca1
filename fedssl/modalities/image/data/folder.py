"""Folders of image files, and lists of them."""

from pathlib import Path
from typing import Annotated, Literal, Self

from PIL import ImageColor
from pydantic import AfterValidator, Field, model_validator

from fedssl.base.fields import File
from fedssl.data.dataset import Splits
from fedssl.data.folders import Folders, refusal
from fedssl.data.layouts import Layout, arrange
from fedssl.data.listed import read_list
from fedssl.data.listing import Listing
from fedssl.data.roots import Root
from fedssl.data.select import balanced
from fedssl.modalities.image.data.config import ImageData
from fedssl.modalities.image.data.files import (
    MAX_PIXELS,
    PIXELS_OF_PILLOW,
    USUAL,
    Decoding,
    check_headers,
    decode_good,
)
from fedssl.modalities.image.data.kinds import IMAGE_FILES
from fedssl.modalities.image.data.on_demand import Files

OnBadFile = Literal["refuse", "skip"]


def _colour(name: str) -> str:
    try:
        ImageColor.getrgb(name)
    except ValueError:
        raise ValueError("is no colour: give a name such as white, or #rrggbb") from None
    return name


class Folder(ImageData):
    """When the images are files: one folder per class, or per domain and class, or unlabelled.

    The layout is found out: ``root/class/file``; ``root/domain/class/file``, where a natural
    partition may split by ``domain``; ``root/file``, unlabelled; ``train/``, ``test/`` and ``val/``
    in one root; or a list of files (CSV: ``path,label,client,domain``). `fedssl show` says what was
    read as what. JPEG, PNG, WebP, BMP, GIF (the first frame), TIFF and PPM are read, turned as
    their EXIF data say.
    """

    name: Literal["folder"] = "folder"
    """This data set."""
    train: File
    """The folder of the training images; or a list of them, whose paths are relative to it: lines
    of path,label, or a CSV whose head names `path`, `label` and columns to split by."""
    test: File | None = None
    """The same of the test images; null takes test/ or val/ beside train/ where there are such, and
    else holds out a fifth of each class."""
    layout: Layout = "auto"
    """What folders mean. class: the first below the root is the class, at any depth of the files;
    domain/class: the second is, and the first is the domain; auto: by how deep the files lie."""
    in_memory: bool = True
    """Decode every image once, at the start; false decodes a client's whenever it trains, for sets
    that memory cannot hold, and needs `size`: the start then looks at each file's header only."""
    on_bad_file: OnBadFile = "refuse"
    """What to do about files that cannot be read: refuse them, all at once, before any work; or
    skip them, and list them in the run's skipped.csv. A file whose header is good but whose rest is
    damaged is found at the start only with `in_memory`; else it fails the client that needs it."""
    max_pixels: int = Field(MAX_PIXELS, ge=1, le=PIXELS_OF_PILLOW)
    """An image whose header claims more pixels is not decoded, but counts as a bad file."""
    background: Annotated[str, AfterValidator(_colour)] = "white"
    """What transparent pixels lie on: a colour such as white, black or '#808080'."""

    @model_validator(mode="after")
    def _size_is_known(self) -> Self:
        if not self.in_memory and self.size is None:
            raise ValueError(
                "in_memory = false needs data.size: give the side of the images in pixels"
            )
        return self

    def read(self) -> Splits:
        """Find the files; those that ``limit`` keeps are decoded now, or else on demand."""
        train, test = Folders(
            IMAGE_FILES, self.train, self.test, self.layout, self.where, self.test_where
        ).listings()
        decoding = Decoding(self.max_pixels, self.background)
        return read_files(
            train.take(balanced(train.labels, self.limit.train)),
            test.take(balanced(test.labels, self.limit.test)),
            self.size,
            decoding,
            skip=self.on_bad_file == "skip",
            in_memory=self.in_memory,
        )


def read_files(
    train: Listing,
    test: Listing,
    size: int | None,
    decoding: Decoding = USUAL,
    *,
    skip: bool = False,
    in_memory: bool = True,
) -> Splits:
    """Decode all files, or look at their headers where they are not to be in memory.

    Raises
    ------
    ValueError
        Some cannot be read, and are not to be skipped; or none can.
    """
    # Together, so that images of one size in training and another in testing are found out.
    paths = train.paths + test.paths
    if in_memory:
        images, bad = decode_good(paths, size, decoding)
    else:
        bad = check_headers(paths, decoding)
    # Training and test images may be the same files.
    every = list(dict.fromkeys([*train.bad, *test.bad, *bad.values()]))
    total = len({*paths, *(path for path, _ in every)})
    if every and (not skip or len(bad) == len(paths)):
        fix = ": none is left" if skip else ", or leave them out by data.on_bad_file: skip"
        raise ValueError(refusal(every, total, IMAGE_FILES, "data", fix))
    number = len(train.paths)
    train = train.without([place for place in bad if place < number])
    test = test.without([place - number for place in bad if place >= number])
    notes = train.notes + test.notes
    if every:
        notes += (f"data.on_bad_file = skip: {len(every):,} of {total:,} files were left out",)
    if not in_memory:
        notes += (
            f"data.in_memory = false: of {len(paths):,} files the headers were read; one that is "
            "damaged further in fails the client that needs it",
        )
    if in_memory:
        cut = len(train.paths)
        parts = train.dataset(images[:cut]), test.dataset(images[cut:])
    else:
        assert size is not None
        train_files, test_files = (Files(x.paths, size, decoding) for x in (train, test))
        parts = train.dataset(train_files), test.dataset(test_files)
    return Splits(*parts, notes=notes, skipped=tuple(every))


def list_files(root: Path, what: str) -> Listing:
    """List the images in a folder, or of a list, whatever its layout; see `Folder`.

    ``what`` is what errors call it.

    Raises
    ------
    ValueError
        There is no such folder, no image in it, or one that is known to be unreadable.
    """
    if root.is_file():
        listing = read_list(root, what, IMAGE_FILES)
    else:
        listing = arrange(
            Root.open(root, what, IMAGE_FILES).found, root, what, IMAGE_FILES, lenient=True
        )
    if listing.bad:
        total = len(listing.paths) + len(listing.bad)
        raise ValueError(refusal(listing.bad, total, IMAGE_FILES, what))
    return listing
