#!/usr/bin/env bash
# web.sh build: gets LiteRT.js, exports the model of `make demo` if there is one, lists the models.  web.sh test: the tests.
# What is missing is installed where that can be done (Debian, root), else named.
set -euo pipefail
cd "$(dirname "$0")/.."
log=node_modules/.install.log
demo=../demo_output

has() {
  case $1 in
    node) [ "$(node -p 'const [a, b] = process.versions.node.split("."); +(a > 20 || (a == 20 && b >= 15))' 2>/dev/null)" = 1 ] ;;
    chromium) [ -x "${CHROMIUM:-}" ] || command -v chromium chromium-browser google-chrome >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

missing() {
  for tool in "$@"; do
    has "${tool%%:*}" || echo "${tool#*:}"
  done
}

need() {
  local packages
  mapfile -t packages < <(missing "$@")
  [ ${#packages[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "web demo: installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get install -y -q "${packages[@]}" || { apt-get update -q && apt-get install -y -q "${packages[@]}"; }; } \
      >"$log" 2>&1 || true
    mapfile -t packages < <(missing "$@")
    [ ${#packages[@]} -gt 0 ] || return 0
  fi
  echo "web demo: install (by these names in Debian) ${packages[*]}; Node.js must be 20.15 or newer" >&2
  exit 1
}

# npm ci takes seconds; it is left out where it ran for this lock file already.
packages() {
  if ! cmp -s package-lock.json node_modules/.installed; then
    if ! npm ci --no-audit --no-fund >/tmp/web_demo_npm.$$ 2>&1; then
      cat /tmp/web_demo_npm.$$ >&2
      echo "web demo: npm ci failed: is the npm registry to be reached?" >&2
      exit 1
    fi
    rm /tmp/web_demo_npm.$$
    cp package-lock.json node_modules/.installed
  fi
  npm run --silent vendor
}

mkdir -p node_modules
case ${1:-} in
  build)
    need node:nodejs npm:npm
    packages
    if [ -f $demo/run/best.keras ] && [ ! -f models/demo.tflite ]; then
      echo "web demo: exporting the model of make demo"
      ../.venv/bin/ehrnet export $demo/run/best.keras --graph poses --precision int8 --calibration $demo/data \
        --out models/demo.tflite
    fi
    npm run --silent models
    if [ "$(cat models.json)" = "[]" ]; then
      echo "web demo: put .tflite files of ehrnet export --graph poses into web_demo/models, or run make demo first" >&2
    fi
    echo "web demo: python3 -m http.server --directory web_demo, then http://localhost:8000"
    ;;
  test)
    need node:nodejs npm:npm chromium:chromium
    packages
    SECONDS=0
    if ! npm test --silent >test/results.log 2>&1; then
      grep -vE '^    at |^# Subtest|^ok |duration_ms|^  (---|\.\.\.)' test/results.log | head -80 >&2
      echo "web demo: FAILED, see web_demo/test/results.log" >&2
      exit 1
    fi
    awk -v s=$SECONDS '/^# (pass|skipped) /{n[$2] = $3}
      END {printf "web demo: %d tests passed, %d skipped, in %d s\n", n["pass"], n["skipped"], s; exit n["pass"] == 0}' test/results.log
    ;;
  *)
    echo "usage: web.sh build|test" >&2
    exit 2
    ;;
esac
