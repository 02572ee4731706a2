"""The content of the report: `build_page` turns `ReportData` into a `Page` of plain values."""
