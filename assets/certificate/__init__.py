"""The completeness certificate: what the lake holds, what was expected, and every gap, sealed day by day.

`statements` builds one statement per day, `summary` adds them up, `documents` writes JSON, `render` writes
HTML and Markdown, and `comparison` names what changed since. `verifier` checks a certificate without the
product.
"""
