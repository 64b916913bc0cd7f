"""Scores captions in COCO's formats: python coco-caption/evaluate.py --annotations FILE --results FILE [--output FILE]

Prints a Markdown table of BLEU-1..4, METEOR, ROUGE-L and CIDEr, times 100; --output receives them as fractions.
"""

import argparse
import sys
from pathlib import Path


class OneLineParser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parse_arguments(arguments=None):
    """The command line's options."""
    parser = OneLineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", metavar="FILE", type=Path, required=True, help="COCO caption annotations")
    parser.add_argument("--results", metavar="FILE", type=Path, required=True, help="COCO caption results to score")
    parser.add_argument("--output", metavar="FILE", type=Path, help="JSON file for the scores")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Exit status: 0; 2 after a mistake of the user, 1 if Java failed."""
    options = parse_arguments(arguments)

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from s2vt.captioning import coco_format, scoring
    from s2vt.data.files import write_json
    from s2vt.errors import ToolError, UserError

    try:
        references = coco_format.read_annotations(options.annotations)
        candidates = coco_format.read_results(options.results)
        scores = scoring.score(references, candidates)
        print(scoring.table({options.results.stem: scores}))
        if options.output:
            write_json(options.output, scores)
    except (UserError, ToolError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
