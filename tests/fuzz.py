"""Fuzzes one reader: python tests/fuzz.py TARGET SECONDS FOLDER

atheris changes files that are good until a reader reads new lines of itself. Whatever leaves a reader but UserError
ends the run with a traceback and status 77, and the file is left in FOLDER as crash-...
"""

import json
import os
import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

with atheris.instrument_imports(include=["s2vt", "json", "xml", "PIL"]):
    import corpus

    import cfg
    from s2vt import config
    from s2vt.data import datasets, entities, pictures, sampling, tracks
    from s2vt.errors import UserError


def picture(path):
    pictures.is_picture(path)
    pictures.read_picture(path)


def video(path):
    sampling.sample_video(path, 2)


def listed(path):
    datasets.read_media(cfg.MSR_VTT, path.parent)


def described(path):
    config.own(path)
    config.record(path)


ANNOTATION = (
    b"<annotation><size><width>9</width><height>9</height></size><object><name>1</name><bndbox><xmin>1</xmin>"
    b"<ymin>1</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object></annotation>"
)
LISTED = {"videos": [{"video_id": "a", "split": "test"}], "sentences": [{"video_id": "a", "caption": "a b"}]}
TRACK = {"event": "up", "boxes": [[0, 0, 1, 1], None], "seen": [1, 0], "happens": [0, 1]}
PHRASE = {"tokens": [0, 1], "kind": "object", "object": 0}
TRUTH = {"num_frames": 2, "objects": [TRACK], "captions": [{"caption": "a b", "phrases": [PHRASE]}]}
RECORD = {"config": cfg.MOVING_SHAPES.to_json(), "seed": 0}
OWN = {"layout": "coco", "media": "picture", "set": {"model.units": 3}}

# Name -> (reader, the file's name, files to begin with).
TARGETS = {
    "picture": (picture, "picture", [content for content, _ in corpus.pictures().values() if len(content) < 5000]),
    "video": (video, "video", [content for content, _ in corpus.videos().values() if len(content) < 20_000]),
    "list": (listed, "MSR-VTT/train_val_videodatainfo.json", [json.dumps(LISTED).encode()]),
    "annotations": (entities.read_annotations, "a.xml", [ANNOTATION]),
    "sentences": (entities.read_sentences, "a.txt", [b"[/EN#1/other a dog] runs\n\n[/EN#0/notvisual it] .\n"]),
    "truth": (tracks.read_tracks, "a.json", [json.dumps(TRUTH).encode()]),
    "description": (described, "dataset.json", [json.dumps(OWN).encode(), json.dumps(RECORD).encode()]),
}


def main():
    target, seconds, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    read, name, seeds = TARGETS[target]
    path, seeds_folder = folder / target / name, folder / f"{target}_seeds"
    for place in (path.parent, seeds_folder):
        place.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(seeds):
        (seeds_folder / str(number)).write_bytes(content)
    if target == "list":
        (path.parent / "test_videodatainfo.json").write_text('{"videos": [], "sentences": []}')
        sys.stderr = open(os.devnull, "w")  # notes about numbers of media

    def once(content):
        path.write_bytes(content)
        try:
            read(path)
        except UserError as error:
            if "\n" in str(error):
                raise RuntimeError(f"more than one line: {error!r}") from error

    flags = [
        f"-max_total_time={seconds}",
        "-timeout=20",
        "-rss_limit_mb=3000",
        f"-artifact_prefix={folder}/",
        "-seed=1",
    ]
    atheris.Setup([sys.argv[0], *flags, str(seeds_folder)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
