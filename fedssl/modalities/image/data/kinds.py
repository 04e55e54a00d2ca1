"""Which kinds of file are images, and which of them can be read."""

from fedssl.data.file_kinds import FileKind

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""The formats that files are opened as, by Pillow's names, whatever a file is called."""

_SUFFIXES = frozenset(
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib"),
        *(".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
    ]
)
"""How the names of images that can be read end."""

_UNREADABLE = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
    **dict.fromkeys((".avif", ".avifs"), "AVIF"),
    **dict.fromkeys((".svg", ".svgz"), "SVG"),
    ".jxl": "JPEG XL",
    **dict.fromkeys((".jp2", ".j2k", ".jpx", ".jpf", ".jpc"), "JPEG 2000"),
    **dict.fromkeys((".eps", ".ps", ".ai"), "PostScript"),
    **dict.fromkeys((".psd", ".psb"), "Photoshop"),
    ".xcf": "GIMP",
    **dict.fromkeys((".dcm", ".dicom"), "DICOM"),
    ".nii": "NIfTI",
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"), "raw camera"),
    **dict.fromkeys((".exr", ".hdr", ".pfm"), "high dynamic range"),
    **dict.fromkeys((".tga", ".icb", ".vda", ".vst"), "TGA"),
    **dict.fromkeys((".ico", ".cur", ".icns"), "icon"),
    **dict.fromkeys((".pcx", ".sgi", ".rgb", ".rgba", ".ras", ".xbm", ".xpm", ".dds"), "old image"),
}
"""How the names of images that cannot be read end, and what they are."""

IMAGE_FILES = FileKind(
    ("image", "images"),
    _SUFFIXES,
    {
        ending: f"{kind} files are not read; save it as JPEG or PNG"
        for ending, kind in _UNREADABLE.items()
    },
)
"""The files that hold images."""

FIX = "save it as JPEG, PNG, WebP, BMP, GIF, TIFF or PPM"

_BEGINNINGS = (
    (b"%PDF", "a PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML, as SVG is"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
    (b"8BPS", "a Photoshop file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a pointer of Git LFS: run git lfs pull"),
)


def seems(beginning: bytes) -> str:
    """Say what a file is that is no image that can be read, by its first 64 bytes."""
    if not beginning:
        return "it is empty"
    if beginning[4:8] == b"ftyp":
        brand = beginning[8:12]
        if brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"):
            return f"it is HEIC: {FIX}"
        return f"it is AVIF: {FIX}" if brand in (b"avif", b"avis") else "it is a film"
    if beginning[4:8] == b"jP  ":
        return f"it is JPEG 2000: {FIX}"
    for begins, what in _BEGINNINGS:
        if beginning.lstrip().startswith(begins):
            return f"it is {what}"
    return "it is no JPEG, PNG, WebP, BMP, GIF, TIFF or PPM, or is damaged at its beginning"
