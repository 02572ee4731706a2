"""The report: `query` reads the lake, `model` computes the page, `render` prints it as HTML or Markdown."""
