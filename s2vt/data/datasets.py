"""Readers of data sets in the files that their owners publish: media with their split and captions.

There is one reader per layout; a Config names the layout of its data set, so that the synthetic sets and users' own
media are read by the same code as the real sets. A reader yields, for each medium,

    (where it is listed, its folder, name of its file, its split as published, its captions)

and `read_media` checks all of them alike. `DATA/README.md` shows the layouts.
"""

import bisect
import csv
import io
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from s2vt.data.files import read_json
from s2vt.errors import UserError

SPLITS = ("train", "val", "test")

# Endings of media files in the layout of MSR-VTT; the published one first.
ENDINGS = {
    "video": (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".gif", ".webp"),
    "picture": (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
}

# {split as published: its name here}. "restval": in Karpathy's splits, the rest of COCO's validation pictures.
PUBLISHED_SPLITS = {split: split for split in SPLITS} | {"validate": "val", "restval": "train"}


@dataclass(frozen=True)
class Medium:
    """One video or picture."""

    id: str  # its file's name without the ending
    path: Path
    split: str  # "train", "val" or "test"
    captions: tuple[str, ...]


def read_media(config, data_dir):
    """All media of a data set that have captions, in the order of its files.

    Prints a line on stderr if the numbers of media differ from the published ones, and one if media without captions
    are left out. Media files themselves need not be there.

    Returns:
        {id: Medium}
    Raises:
        UserError: if a file of the layout is missing or malformed; names the file, the line, and where to get it.
    """
    folder = Path(data_dir) / config.dataset
    media, listed = {}, set()
    for where, subfolder, file, split, captions in READERS[config.layout](folder, config):
        name = Path(_plain(file, where)).stem
        _once(name, listed, where)
        if split not in PUBLISHED_SPLITS:
            raise UserError(f"{where}: split {split!r}; expected one of {', '.join(PUBLISHED_SPLITS)}")
        captions = tuple(" ".join(caption.split()) for caption in captions if caption.strip())
        if captions:
            path = folder / _plain(subfolder, where) / file
            media[name] = Medium(name, path, PUBLISHED_SPLITS[split], captions)
    if not media:
        raise UserError(f"{folder} lists no media; {config.source}")
    if len(listed) > len(media):
        print(f"note: {folder}: {len(listed) - len(media)} media without captions are left out", file=sys.stderr)
    splits = [medium.split for medium in media.values()]
    found = "/".join(str(splits.count(split)) for split in SPLITS)
    if config.splits and found not in config.splits.split():
        published = " or ".join(config.splits.split())
        print(f"note: {folder} has {found} media to train/validate/test, published: {published}", file=sys.stderr)
    return media


def select(media, split=None, limit=None):
    """List of the media of one split (None: of all), at most `limit` of them.

    Args:
        media: {id: Medium}, as `read_media` returns it.
    Raises:
        UserError: if the split has no media, or the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit}: expected 1 or more media")
    splits = sorted({medium.split for medium in media.values()})
    if split is not None and split not in splits:
        raise UserError(f"no media in split {split!r}; there are: {', '.join(splits)}")
    return [medium for medium in media.values() if split in (None, medium.split)][:limit]


def require_folders(media, config):
    """Raises UserError if a folder of some of the media (a list of Medium) is missing; names where to get it."""
    for folder in dict.fromkeys(medium.path.parent for medium in media):
        _required(folder, config)


def _required(path, config):
    if not path.exists():
        raise UserError(f"{path} is missing; {config.source}")
    return path


def _plain(name, where):
    """Returns the name of a file or folder, after checking that it is no path and can be printed on one line."""
    if (
        not isinstance(name, str)
        or not name.isprintable()
        or name != Path(name).name
        or name[:1] in ("", ".")
        or len(name.encode()) > 200
    ):
        raise UserError(f"{where}: {name!r} cannot be a media id; expected a plain file name without folders")
    return name


def _once(key, seen, where):
    """Adds an id to `seen`; raises UserError if it is there already."""
    if key in seen:
        raise UserError(f"{where}: {key!r} is listed a second time; take one of the two out")
    seen.add(key)


def _text(path):
    """A text file, UTF-8 with or without a byte order mark."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: not UTF-8; convert the file or get it again") from error


def _lines(path, separator, expected):
    """Yields (where, the text before the separator, the text after it) of every line that is not blank."""
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            first, mark, second = line.partition(separator)
            if not mark:
                raise UserError(f"{path}, line {number}: expected {expected}")
            yield f"{path}, line {number}", first.strip(), second.strip()


def _entries(where, values, key, **kinds):
    """Yields (where, entry) of the list `key` in a JSON object; each entry is checked to have `kinds`, {name: type}."""
    entries = values.get(key) if isinstance(values, dict) else None
    if not isinstance(entries, list):
        raise UserError(f"{where}: expected an object with a list {key!r}")
    for number, entry in enumerate(entries):
        place = f"{where}, {key}[{number}]"
        for name, kind in kinds.items():
            if not isinstance(entry, dict) or not isinstance(entry.get(name), kind):
                expected = "text" if kind is str else "a number or text"
                raise UserError(f"{place}: expected an object whose {name!r} is {expected}")
        yield place, entry


def read_msr_vtt(folder, config):
    """MSR-VTT: two JSON files, `TrainValVideo/` and `TestVideo/`, with one file `<video_id>.mp4` per clip.

    Users' own media may have other endings (ENDINGS).
    """
    files = {"train_val_videodatainfo.json": "TrainValVideo", "test_videodatainfo.json": "TestVideo"}
    for file, subfolder in files.items():
        path = _required(folder / file, config)
        info, captions, media = read_json(path), {}, _by_stem(folder / subfolder)
        for _, sentence in _entries(path, info, "sentences", video_id=str, caption=str):
            captions.setdefault(sentence["video_id"], []).append(sentence["caption"])
        for where, video in _entries(path, info, "videos", video_id=str, split=str):
            name = video["video_id"]
            file = _with_ending(name, media.get(name, ()), ENDINGS[config.media])
            yield where, subfolder, file, video["split"], captions.get(name, ())


def _by_stem(folder):
    """{name without ending: names of the files} in a folder; empty if it is not there."""
    found = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        found.setdefault(path.stem, []).append(path.name)
    return found


def _with_ending(stem, files, endings):
    """Which of the files of a stem is the medium; the published name if there is none."""
    media = [file for file in files if Path(file).suffix.lower() in endings]
    return min(media, key=lambda file: (endings.index(Path(file).suffix.lower()), file), default=stem + endings[0])


def read_msvd(folder, config):
    """MSVD: `YouTubeClips/` and the captions in one of two published forms.

    Either `sents_{train,val,test}_lc_nopunc.txt`, which number the clips vid1 to vid1970, with `youtube_mapping.txt`;
    or the corpus' CSV, of which the English captions are read. The CSV has no splits: the first 1,200 clips are for
    training, the next 100 for validation, in the order of `youtube_mapping.txt`. That is also the order of the files'
    names, so that without the mapping all files must be in `YouTubeClips/`.
    """
    if any((folder / f"sents_{split}_lc_nopunc.txt").exists() for split in SPLITS):
        return _msvd_sentences(folder, config)
    return _msvd_corpus(folder, config)


def _msvd_sentences(folder, config):
    names = {f"vid{number}": name for name, number in _msvd_numbers(folder, config).items()}
    for split in SPLITS:
        path = _required(folder / f"sents_{split}_lc_nopunc.txt", config)
        captions, first = {}, {}
        for where, number, caption in _lines(path, "\t", "vidK<tab>caption"):
            if number not in names:
                raise UserError(f"{where}: {number!r} is not in youtube_mapping.txt")
            captions.setdefault(number, []).append(caption)
            first.setdefault(number, where)
        for number, where in first.items():
            yield where, "YouTubeClips", f"{names[number]}.avi", split, captions[number]


def _msvd_corpus(folder, config):
    path = _required(folder / "MSR Video Description Corpus.csv", config)
    if (folder / "youtube_mapping.txt").exists():
        numbers = _msvd_numbers(folder, config)
    else:
        clips = _required(folder / "YouTubeClips", config).glob("*.avi")
        numbers = {name: number for number, name in enumerate(sorted(clip.stem for clip in clips), 1)}
    captions, first = {name: [] for name in numbers}, {}
    rows = csv.DictReader(io.StringIO(_text(path), newline=""))
    try:
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if None in (clip := [row.get(key) for key in ("VideoID", "Start", "End", "Language", "Description")]):
                raise UserError(f"{where}: expected columns VideoID, Start, End, ..., Language, Description")
            *parts, language, caption = clip
            name = "_".join(parts)
            if language == "English" and name in numbers:  # the corpus lists clips that are no longer published
                captions[name].append(caption)
                first.setdefault(name, where)
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.reader.line_num}: not CSV ({error}); get the file again") from None
    train, val, _ = map(int, config.splits.split("/"))
    for name, number in numbers.items():
        split = SPLITS[bisect.bisect_left((train, train + val), number)]
        yield first.get(name, path), "YouTubeClips", f"{name}.avi", split, captions[name]


def _msvd_numbers(folder, config):
    """{name of a clip: its number}, from `youtube_mapping.txt`."""
    numbers, seen = {}, set()
    for where, name, number in _lines(_required(folder / "youtube_mapping.txt", config), " ", "NAME vidK"):
        if not re.fullmatch("vid[1-9][0-9]{0,5}", number):
            raise UserError(f"{where}: expected NAME vidK, found {number!r}")
        _once(number, seen, where)
        _once(name, seen, where)
        numbers[name] = int(number[3:])
    return numbers


def read_flickr30k(folder, config):
    """Flickr30k: `flickr30k-images/`, captions and splits.

    Splits come from the lists `imgs_{train,val,test}.txt`, else from Karpathy's `dataset_flickr30k.json`; captions
    from `results_20130124.token`, else from Karpathy's file.
    """
    token, karpathy = folder / "results_20130124.token", folder / "dataset_flickr30k.json"
    listed = any((folder / f"imgs_{split}.txt").exists() for split in SPLITS) or not karpathy.exists()
    told = token.exists() or not karpathy.exists()
    pictures = [] if listed and told else list(_karpathy(karpathy))
    captions = _token_captions(_required(token, config)) if told else {file: c for _, _, file, _, c in pictures}
    rows = _listed(folder, config) if listed else ((where, file, split) for where, _, file, split, _ in pictures)
    for where, file, split in rows:
        if file not in captions:
            raise UserError(f"{where}: {(token if told else karpathy).name} has no caption of {file}")
        yield where, "flickr30k-images", file, split, captions[file]


def _token_captions(path):
    captions, seen = {}, set()
    for where, key, caption in _lines(path, "\t", "NAME.jpg#K<tab>caption"):
        _once(key, seen, where)
        captions.setdefault(key.rpartition("#")[0], []).append(caption)
    return captions


def _listed(folder, config):
    """Yields the pictures of the lists that are there; a split without a list has none."""
    lists = {split: folder / f"imgs_{split}.txt" for split in SPLITS}
    for split, path in lists.items():
        if not path.exists() and any(other.exists() for other in lists.values()):
            continue
        _required(path, config)
        for number, line in enumerate(_text(path).split("\n"), 1):
            if name := line.strip():
                yield f"{path}, line {number}", name if Path(name).suffix else f"{name}.jpg", split


def _karpathy(path):
    """Yields the media of Karpathy's JSON; Flickr30k's has no folders in it."""
    for where, image in _entries(path, read_json(path), "images", filename=str, split=str):
        captions = [sentence["raw"] for _, sentence in _entries(where, image, "sentences", raw=str)]
        yield where, image.get("filepath"), image["filename"], image["split"], captions


def read_coco(folder, config):
    """COCO: `annotations/captions_train2014.json`, `train2014/`, and `val2014` likewise; also 2017, or no year.

    If Karpathy's `dataset_coco.json` is there, splits and captions are his, of the pictures of 2014. A file
    `captions_test...` is read if there is one; COCO's owners do not publish theirs.
    """
    if (folder / "dataset_coco.json").exists():
        yield from _karpathy(folder / "dataset_coco.json")
        return
    annotations = folder / "annotations"
    years = [year for year in ("2014", "2017", "") if (annotations / f"captions_train{year}.json").exists()]
    year = next(iter(years), "2014")
    for split in SPLITS:
        path = annotations / f"captions_{split}{year}.json"
        if split == "test" and not path.exists():
            continue
        info, captions, seen = read_json(_required(path, config)), {}, set()
        for _, annotation in _entries(path, info, "annotations", image_id=int | str, caption=str):
            captions.setdefault(annotation["image_id"], []).append(annotation["caption"])
        for where, image in _entries(path, info, "images", id=int | str, file_name=str):
            _once(image["id"], seen, where)
            yield where, f"{split}{year}", image["file_name"], split, captions.get(image["id"], ())


READERS = {"msr_vtt": read_msr_vtt, "msvd": read_msvd, "flickr30k": read_flickr30k, "coco": read_coco}
