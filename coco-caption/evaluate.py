"""Scores captions in COCO's formats: python coco-caption/evaluate.py --annotations FILE --results FILE [--output FILE]

Prints a Markdown table of BLEU-1..4, METEOR, ROUGE-L and CIDEr, times 100; --output receives them as fractions.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from s2vt import command_line  # noqa: E402


def main(arguments=None) -> int:
    parser = command_line.Parser("evaluate.py", "Scores captions in the formats of the COCO caption evaluation.")
    parser.add_argument("--annotations", metavar="FILE", type=Path, required=True, help="COCO caption annotations")
    parser.add_argument("--results", metavar="FILE", type=Path, required=True, help="COCO caption results to score")
    parser.add_argument("--output", metavar="FILE", type=Path, help="JSON file for the scores")
    options = parser.parse_args(arguments)

    from s2vt.captioning import coco_format, scoring
    from s2vt.data.files import write_json

    references = coco_format.read_annotations(options.annotations)
    candidates = coco_format.read_results(options.results)
    scores = scoring.score(references, candidates)
    print(scoring.table({options.results.stem: scores}))
    if options.output:
        write_json(options.output, scores)
    return 0


if __name__ == "__main__":
    command_line.run(main)
