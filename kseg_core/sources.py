"""What an image is before its pixels are read: cheap to send to a worker, opened there."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import UnreadableImage
from .images import read_header, read_image
from .inputs import InputFile
from .summary import Window


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A file known to be an image.

    Parameters
    ----------
    file
        Where it is and what it is called.
    shape
        (height, width) as a person sees it.
    """

    file: InputFile
    shape: tuple[int, int]

    @property
    def pixels(self) -> int:
        return self.shape[0] * self.shape[1]

    @classmethod
    def open(cls, file: InputFile) -> ImageSource:
        """Look at the header.

        Raises
        ------
        UnreadableImage
            If it is not an image this program reads.
        """
        try:
            return cls(file, read_header(file.path).shape)
        except UnreadableImage as error:
            raise UnreadableImage(file.source, error.reason) from error

    def read(self) -> Window:
        """All its pixels, as 8-bit sRGB.

        Raises
        ------
        UnreadableImage
            If they cannot be had, or are not those of the header any more.
        """
        try:
            image = read_image(self.file.path)
        except UnreadableImage as error:
            raise UnreadableImage(self.file.source, error.reason) from error
        if image.rgb.shape[:2] != self.shape:
            raise UnreadableImage(self.file.source, "changed while it was being read; run again")
        return Window(image.rgb, image.valid)
