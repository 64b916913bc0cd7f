"""Readers of data sets in the files their owners publish: media with their split and captions.

One reader per layout, and only `cfg.py` knows which set has which layout: the synthetic sets, and your own media,
come through the same readers as the real ones.
"""

from dataclasses import dataclass
from pathlib import Path

from s2vt.data.files import read_json
from s2vt.errors import UserError


@dataclass(frozen=True)
class Medium:
    """One video or picture."""

    id: str
    path: Path
    split: str  # "train", "val" or "test"
    captions: tuple[str, ...]


def read_media(config, data_dir):
    """All media of a data set, in the order of its files.

    Returns:
        {id: Medium}
    Raises:
        UserError: a file of the layout is missing or malformed; says which, and how to get it.
    """
    folder = Path(data_dir) / config.dataset
    media = READERS[config.layout](folder, config)
    if not media:
        raise UserError(f"{folder} lists no media; {config.source}")
    return {medium.id: medium for medium in media}


def select(media, split=None, limit=None):
    """Media of one split (all if None), at most `limit` of them, as a list.

    Raises:
        UserError: on a split without media.
    """
    splits = sorted({medium.split for medium in media.values()})
    if split is not None and split not in splits:
        raise UserError(f"no media in split {split!r}; there are: {', '.join(splits)}")
    return [medium for medium in media.values() if split in (None, medium.split)][:limit]


def _required(path, config):
    if not path.exists():
        raise UserError(f"{path} is missing; {config.source}")
    return path


def _plain_name(name, path):
    """A media id that can name a file and nothing else."""
    if not isinstance(name, str) or not name or name != Path(name).name or name in (".", "..") or "\0" in name:
        raise UserError(f"{path}: {name!r} cannot be a media id; expected a plain file name without folders")
    return name


def read_msr_vtt(folder, config):
    """MSR-VTT: two JSON files, `TrainValVideo/` and `TestVideo/`; the split "validate" is called "val" here."""
    media = []
    files = {"train_val_videodatainfo.json": "TrainValVideo", "test_videodatainfo.json": "TestVideo"}
    for file, subfolder in files.items():
        path = _required(folder / file, config)
        info = read_json(path)
        try:
            captions = {}
            for sentence in info["sentences"]:
                captions.setdefault(sentence["video_id"], []).append(str(sentence["caption"]))
            for video in info["videos"]:
                name = _plain_name(video["video_id"], path)
                split = {"validate": "val"}.get(video["split"], video["split"])
                media.append(Medium(name, folder / subfolder / f"{name}.mp4", split, tuple(captions.get(name, ()))))
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is not in MSR-VTT's layout ({type(error).__name__}: {error})") from None
    return media


def read_flickr30k(folder, config):
    """Flickr30k: `results_20130124.token`, `flickr30k-images/` and the lists `imgs_{train,val,test}.txt`."""
    path = _required(folder / "results_20130124.token", config)
    captions = {}
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        if not line.strip():
            continue
        key, tab, caption = line.partition("\t")
        name, mark, _ = key.rpartition("#")
        if not tab or not mark:
            raise UserError(f"{path}, line {number}: expected NAME.jpg#K<tab>caption")
        captions.setdefault(name, []).append(caption.strip())
    media = []
    for split in ("train", "val", "test"):
        list_path = _required(folder / f"imgs_{split}.txt", config)
        for line in list_path.read_text("utf-8").split():
            name = _plain_name(line, list_path)
            name = name if name.endswith(".jpg") else f"{name}.jpg"
            if name not in captions:
                raise UserError(f"{path} has no caption of {name}, which {list_path.name} lists")
            media.append(Medium(name[:-4], folder / "flickr30k-images" / name, split, tuple(captions[name])))
    return media


READERS = {"msr_vtt": read_msr_vtt, "flickr30k": read_flickr30k}
