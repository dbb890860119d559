"""The sources of images there are: one line each."""

from mimflow.data.sources.spec import DigitsSpec, ImageFolderSpec, Mnist5kSpec, PhotosSpec
from mimflow.spec.registry import Registry

SOURCES = Registry(
    "source",
    (DigitsSpec, "mimflow.data.sources.packages:digits"),
    (Mnist5kSpec, "mimflow.data.sources.packages:mnist5k"),
    (PhotosSpec, "mimflow.data.sources.photos:Photos"),
    (ImageFolderSpec, "mimflow.data.sources.folder:ImageFolder"),
)
