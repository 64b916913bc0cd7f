"""The index page of many explained media: a thumbnail, the sentence and the files of each.

`index.json` in a folder of results lists its entries, so that an interrupted run continues where it stopped;
`index.html` shows them, without a server.
"""

import dataclasses
import html
import os
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from s2vt.data.files import atomic_path, read_json, write_json
from s2vt.errors import UserError
from s2vt.rendering.drawing import (
    Backdrop,
    content_phrases,
    drawn_evidence,
    resized,
    shrunk,
)

WIDTH, HEIGHT = 320, 640  # of a thumbnail at most, pixels

_PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.4 system-ui, sans-serif; margin: 2em; color: #1a1a1a; background: #fff }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(17em, 1fr)); gap: 1.5em }}
img {{ width: 100%; height: 13em; object-fit: contain; background: #f3f2ef; border-radius: 4px }}
h1 {{ font-size: 1.4em }} h2 {{ font-size: 1em; margin: .3em 0 0; overflow-wrap: anywhere }}
p {{ margin: 0 }} p.files, a {{ color: #6b6b6b }} p.files {{ font-size: .85em }}
</style>
<h1>{title}</h1>
<main>
{cards}
</main>
"""

_CARD = """<article><a href="{first}"><img src="{thumbnail}" alt="" loading="lazy"></a>
<h2>{name}</h2><p>{sentence}</p><p class="files">{files}</p></article>"""


def _is_entry(value):
    return (
        isinstance(value, dict)
        and value.keys() == {"sentence", "files", "made_with"}
        and isinstance(value["sentence"], str)
        and isinstance(value["files"], list)
        and all(isinstance(file, str) for file in value["files"])
        and value["files"] != []
    )


class Gallery:
    """A folder of results and the list of its entries.

    Args:
        folder: of index.json and index.html; made when the first entry is added.
        title: heading of the page.
    Raises:
        UserError: if the folder has an index.json of another kind.
    """

    def __init__(self, folder, title):
        self.folder, self.title = Path(folder), title
        path = self.folder / "index.json"
        self.entries = read_json(path) if path.exists() else {}
        if not isinstance(self.entries, dict) or not all(map(_is_entry, self.entries.values())):
            raise UserError(f"{path} is no list of explained media; delete it, or choose another --output")

    def holds(self, name, made_with):
        """Whether an entry was made with the same settings and all its files are there."""
        entry = self.entries.get(name)
        return (
            bool(entry) and entry["made_with"] == made_with and all((self.folder / f).exists() for f in entry["files"])
        )

    def add(self, name, sentence, files, thumbnail, made_with):
        """Adds an entry, or replaces the one of that name, and writes the page.

        Args:
            name: the medium's.   sentence: a string.   files: their paths, in the folder.
            thumbnail: (h, w, 3) uint8.   made_with: the settings that the files depend on, JSON values.
        """
        path = self.folder / "thumbnails" / f"{name}.jpg"
        with atomic_path(path) as temporary:
            Image.fromarray(thumbnail).save(temporary, quality=88)
        names = [Path(file).relative_to(self.folder).as_posix() for file in files]
        self.entries[name] = {"sentence": sentence, "files": names, "made_with": made_with}
        self._write_page()
        write_json(self.folder / "index.json", self.entries)  # last: a listed entry is complete

    def _write_page(self):
        cards = []
        for name, entry in self.entries.items():
            links = " · ".join(
                f'<a href="{_address(file)}">{html.escape(Path(file).name.removeprefix(name).lstrip("._"))}</a>'
                for file in entry["files"]
            )
            cards.append(
                _CARD.format(
                    first=_address(entry["files"][0]),
                    thumbnail=_address(f"thumbnails/{name}.jpg"),
                    name=html.escape(name),
                    sentence=html.escape(entry["sentence"]),
                    files=links,
                )  # fmt: skip
            )
        with atomic_path(self.folder / "index.html") as temporary:
            page = _PAGE.format(title=html.escape(self.title), cards="\n".join(cards))
            temporary.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")


def _address(file):
    """A file's name as a link's address; quoted, it cannot name a scheme such as javascript:."""
    return quote(os.fsencode(file))


def thumbnail(frames, explanation, phrases, look):
    """The map of the content phrase whose evidence is most concentrated in time, in the frame of its largest alpha.

    Of a picture, the first content phrase is taken. Of a kind of map without values in space, the frame is plain.

    Args:
        frames: m frames or one picture, (m, H, W, 3) uint8.
        explanation: `s2vt.saliency.explanation.Explanation`.
        phrases: K of `s2vt.data.phrases.Phrase`.
        look: `Look`.
    Returns:
        (h, w, 3) uint8.
    """
    chosen = [phrases[k] for k in content_phrases(phrases)] or phrases
    cells, evidence = drawn_evidence(explanation, chosen, look)
    k = i = 0
    if evidence is not None:
        alpha = np.abs(look.bars(evidence))
        k, i = np.unravel_index(alpha.argmax(), alpha.shape)
    geometry = explanation.geometry_of(look.kind)
    ratio = min(WIDTH / geometry.width, HEIGHT / geometry.height)
    size = tuple(max(1, round(ratio * side)) for side in (geometry.width, geometry.height))
    e_map = None
    if cells is not None:
        # The peak's map in full, whatever else is drawn.
        over_clip = dataclasses.replace(look, saliency=dataclasses.replace(look.saliency, normalize="clip"))
        e = over_clip.to_draw(cells[k : k + 1], geometry)[0, i]
        e_map = over_clip.upsample(e, resized(geometry, *size))
    return np.asarray(look.overlay(Backdrop(shrunk(frames[i], size)), e_map))
