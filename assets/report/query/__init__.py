"""The SQL of the report and its typed result: `read_report_data` turns a `ReportScope` into `ReportData`."""
