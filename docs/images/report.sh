#!/usr/bin/env bash
# Write report.png next to this script: a report on the demo's lake, in Chromium. Run `make demo` first.
# Set CHROMIUM to use another browser binary. pngquant reduces the file size if it is installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
image="$PWD/docs/images/report.png"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
LEDGER_CONFIG=data/demo/ledger.toml .venv/bin/ledger report --out "$scratch/page.html" \
  --equipment 'Feed pump 2' --equipment 'Air compressor 1' --equipment 'Cooling fan'
"${CHROMIUM:-chromium}" --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run \
  --disable-background-networking --disable-component-update --disable-sync --user-data-dir="$scratch/profile" \
  --blink-settings=preferredColorScheme=1 --window-size=1184,2000 --screenshot="$image" "file://$scratch/page.html" 2>/dev/null
if command -v pngquant >/dev/null; then pngquant --force --output "$image" 32 "$image"; fi
