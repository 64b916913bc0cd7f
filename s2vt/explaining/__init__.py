"""Explaining media to a reader: a medium and a sentence -> saliency videos, storyboards, figures, pages and numbers.

`explain` plans the work and makes all checks that need no engine (`jobs`), computes the evidence (`explainer`), and
makes the files that the endings of their names ask for (`outputs`).
"""
