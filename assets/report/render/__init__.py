"""How the report looks: HTML and Markdown."""
