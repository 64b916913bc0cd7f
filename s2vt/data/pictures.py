"""Picture files to (H, W, 3) uint8 RGB arrays, upright.

Letters: H, W height and width, pixels.
"""

import stat
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from s2vt.errors import UserError

MAX_PIXELS = 89_478_485  # of one picture or frame: Pillow's own limit, 256 MiB of RGB
ANIMATIONS = {"GIF", "PNG", "WEBP", "AVIF"}  # Pillow's names of formats that hold a picture or an animation
MOVING_PICTURES = {"MPEG", "FLI"}  # formats of which Pillow reads the header only, or that are always videos

# Pillow warns of details that do not change the pixels, and of sizes, which are checked here. Set once, because
# several threads decode.
warnings.filterwarnings("ignore", module="PIL")


class MediaError(UserError):
    """A picture or video that cannot be read. The message is one line: the file and the reason."""


def refusal(path, reason):
    """The MediaError of a file."""
    return MediaError(" ".join(f"{path}: {reason}".split()))


def read_picture(path):
    """A picture file as a viewer shows it: turned as its EXIF orientation says, transparency over white.

    Grey, palette, CMYK and 16-bit pictures become 8-bit RGB. ICC profiles are ignored, as in the networks' own training
    data. Of an animation, the first frame is read.

    Returns:
        (H, W, 3) uint8 RGB.
    Raises:
        MediaError: if there is no such file, Pillow cannot decode all of it, or it has more than MAX_PIXELS pixels.
    """
    path = Path(path)
    check_file(path)
    try:
        with _open_picture(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            return as_array(image)
    except Image.DecompressionBombError as error:
        raise refusal(path, f"too big: more than {MAX_PIXELS // 10**6} million pixels; make it smaller") from error
    except Image.UnidentifiedImageError as error:
        raise refusal(path, "not a picture in a format that Pillow reads (JPEG, PNG, WebP, ...)") from error
    except Exception as error:  # on damaged files Pillow raises nearly anything: struct.error, IndexError, ...
        raise refusal(path, f"the picture cannot be decoded: {error or type(error).__name__}") from error


def as_array(image):
    """A Pillow image as (H, W, 3) uint8 RGB, as `read_picture` reads a file.

    Raises:
        ValueError: if its values have no agreed range.
    """
    return np.array(to_rgb(_upright(image)))


def _open_picture(path):
    image = Image.open(path)
    if image.format == "EPS":  # a program, which Pillow would give to Ghostscript
        image.close()
        raise Image.UnidentifiedImageError
    return image


def _upright(image):
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the pixels are whole even if the EXIF block is damaged
        return image


def to_rgb(image):
    """A Pillow image as RGB, transparency over white.

    Raises:
        ValueError: if its values have no agreed range.
    """
    if image.mode == "I" or image.mode.startswith("I;16"):  # 16-bit grey; Pillow's own conversion clips at 255
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its 32-bit grey values have no agreed range; save it as 8 or 16 bit")
        return Image.fromarray(np.round(values / 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("its floating-point values have no agreed range; save it as 8 or 16 bit")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def check_file(path):
    """Raises MediaError if there is no file at a Path, or it cannot be read or is empty."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise refusal(path, "missing (no such file)") from error
    except OSError as error:
        raise refusal(path, f"cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise refusal(path, "a folder, not a picture or video" if path.is_dir() else "not a file")
    if status.st_size == 0:
        raise refusal(path, "the file is empty")


def is_picture(path):
    """Whether a file holds one still picture, judged by its content; False where it cannot be read."""
    path = Path(path)
    try:
        check_file(path)
        with _open_picture(path) as image:
            moves = image.format in ANIMATIONS and getattr(image, "is_animated", False)
            return image.format not in MOVING_PICTURES and not moves
    except Exception:  # what Pillow cannot read may be a video
        return False
