import subprocess
import sys

PROGRAM = """
import sys
import pyarrow as pa
from resources.pandas_import import convert_lists_without_pandas
convert_lists_without_pandas()
rows = pa.table({"value": [1.5, None]})
assert "pandas" not in sys.modules
frame = rows.to_pandas()
convert_lists_without_pandas()
assert pa.Table.from_pandas(frame) == rows, "tables are converted as before"
"""


def test_lists_are_converted_without_pandas_and_frames_with_it() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
