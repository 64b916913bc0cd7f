"""The scores of every single phrase, as a table of tab-separated values: which phrases are found, which are not?

    awk -F'\t' 'NR > 1 { print $5 - $6 "\t" $0 }' FILE.phrases.tsv | sort -g | head

Columns: the medium, the caption, the phrase, its categories, then each row of each table, such as "space: nll" and
"space: center"; empty where a table does not ask about a phrase.
"""

import csv

from s2vt.data.files import atomic_path

PHRASE = ("medium", "sentence", "phrase", "categories")


def entry(question):
    """What names a phrase, with no scores yet: {"sentence", "phrase", "categories", "scores": {}}, as JSON values.

    Args:
        question: a `scorer.Question`.
    """
    phrase = question.mention.phrase
    return {"sentence": question.sentence, "phrase": phrase.name, "categories": list(phrase.categories), "scores": {}}


def write(path, media):
    """Writes the table; with six significant digits.

    Args:
        path: the file.
        media: () -> iterator of (id of a medium, list of entries whose "scores" are {table: {row: number}}).
            It is called twice, so that no more than one medium is held in memory.
    """
    columns = list(dict.fromkeys(name for _, entries in media() for each in entries for name in _scores(each)))
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, "excel-tab", lineterminator="\n")
        table.writerow([*PHRASE, *columns])
        for medium, entries in media():
            for each in entries:
                scores = _scores(each)
                cells = [f"{scores[name]:.6g}" if name in scores else "" for name in columns]
                table.writerow([medium, each["sentence"], each["phrase"], " ".join(each["categories"]), *cells])


def _scores(each):
    """{"table: row": number} of an entry."""
    return {f"{table}: {row}": value for table, rows in each["scores"].items() for row, value in rows.items()}
