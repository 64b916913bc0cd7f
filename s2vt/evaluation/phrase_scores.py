"""The scores of every single phrase, as a table of tab-separated values: which phrases are found, which are not?

    awk -F'\t' 'NR > 1 && $5 == "" { print $6 - $7 "\t" $0 }' FILE.phrases.tsv | sort -g | head

Columns: the medium, the caption, the phrase, its categories, why a captioner cannot read it (else empty), then each row
of each table, such as "space: nll" and "space: center"; empty where a table does not ask about a phrase.
"""

import csv

from s2vt.data.files import atomic_path

PHRASE = ("medium", "sentence", "phrase", "categories", "unread")


def entry(question):
    """What names a phrase, with no scores yet, as JSON values: the last columns of `PHRASE`, and "scores", {}.

    Args:
        question: a `scorer.Question`.
    """
    phrase = question.mention.phrase
    categories = " ".join(phrase.categories)
    named = (question.sentence, phrase.name, categories, question.unread)
    return dict(zip(PHRASE[1:], named, strict=True)) | {"scores": {}}


def write(path, media):
    """Writes the table; with six significant digits.

    Args:
        path: the file.
        media: () -> iterator of (id of a medium, list of entries whose "scores" are {table: {row: number}}).
            It is called twice.
    """
    columns = list(dict.fromkeys(name for _, entries in media() for each in entries for name in _scores(each)))
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, "excel-tab", lineterminator="\n")
        table.writerow([*PHRASE, *columns])
        for medium, entries in media():
            for each in entries:
                scores = _scores(each)
                cells = [f"{scores[name]:.6g}" if name in scores else "" for name in columns]
                table.writerow([medium, *(each[name] for name in PHRASE[1:]), *cells])


def _scores(each):
    """{"table: row": number} of an entry."""
    return {f"{table}: {row}": value for table, rows in each["scores"].items() for row, value in rows.items()}
