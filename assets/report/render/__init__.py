"""The output formats of a `Page`: `render_html` and `render_markdown`."""
