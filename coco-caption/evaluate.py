"""Scores captions in COCO's formats: python coco-caption/evaluate.py --annotations FILE --results FILE [--output FILE]

Prints a Markdown table of BLEU-1..4, METEOR, ROUGE-L and CIDEr (times 100), and writes them (as fractions) to --output.
"""

import argparse
import sys
from pathlib import Path


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong with the arguments on one line, as all mistakes are said."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parse_arguments(arguments=None):
    parser = OneLineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", metavar="FILE", type=Path, required=True, help="COCO caption annotations")
    parser.add_argument("--results", metavar="FILE", type=Path, required=True, help="COCO caption results to score")
    parser.add_argument("--output", metavar="FILE", type=Path, help="JSON file for the scores")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    options = parse_arguments(arguments)

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from s2vt.captioning import coco_format, java, scoring
    from s2vt.data.files import write_json
    from s2vt.errors import UserError

    try:
        references = coco_format.read_coco_annotations(options.annotations)
        candidates = coco_format.read_coco_results(options.results)
        scores = scoring.score(references, candidates)
        print(scoring.table({options.results.stem: scores}))
        if options.output:
            write_json(options.output, scores)
    except UserError as mistake:
        print(mistake, file=sys.stderr)
        return 2
    except java.ScoringError as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
