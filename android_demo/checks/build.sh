#!/usr/bin/env bash
# build.sh test: compiles the Android demo and runs its tests.  build.sh apk: makes and inspects a debug APK.
# Both need no Android SDK. What is missing is installed where that can be done (Debian, root), else named.
set -euo pipefail
cd "$(dirname "$0")/.."
log=target/maven.log

# Android SDK users have the tools there.
for tools in "${ANDROID_HOME:-/none}"/build-tools/*/; do
  PATH="$PATH:${tools%/}"
done

has() {
  case $1 in
    javac) [ "$("${JAVA_HOME:+$JAVA_HOME/bin/}javac" -version 2>&1 | sed -En 's/^javac ([0-9]+).*/\1/p')" -ge 17 ] 2>/dev/null ;;
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
    echo "Android demo: installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get install -y -q "${packages[@]}" || { apt-get update -q && apt-get install -y -q "${packages[@]}"; }; } \
      >target/apt.log 2>&1 || true
    mapfile -t packages < <(missing "$@")
    [ ${#packages[@]} -gt 0 ] || return 0
  fi
  echo "Android demo: install (by these names in Debian) ${packages[*]}; the JDK must be 17 or newer" >&2
  exit 1
}

maven() {
  rm -rf {posekit,app,checks/aars}/target
  if ! mvn -B -Dmaven.wagon.http.retryHandler.count=3 "$@" >"$log" 2>&1; then
    grep -E '^\[ERROR\]|^\[WARNING\] file:|error:' "$log" |
      grep -vE '^\[ERROR\] *($|\[Help|To see|Re-run|For more|After correcting|See dump|mvn )' | head -60 >&2
    echo "Android demo: FAILED, see android_demo/$log" >&2
    exit 1
  fi
}

mkdir -p target
case ${1:-} in
  test)
    need javac:default-jdk-headless mvn:maven aapt2:aapt
    SECONDS=0
    maven test
    sed -nE 's/^\[(INFO|WARNING)\] (Tests run: [0-9]+, Failures: [0-9]+, Errors: [0-9]+, Skipped: [0-9]+)$/\2/p' "$log" |
      awk -F'[:,]' -v s=$SECONDS '{run += $2; skipped += $8}
        END {printf "Android demo: %d tests passed, %d skipped, in %d s\n", run - skipped, skipped, s; exit run == 0}'
    { grep -oh '<skipped message="[^"]*"' {posekit,app}/target/surefire-reports/*.xml || true; } | sort | uniq -c |
      sed -E 's/^ *([0-9]+) <skipped message="(.*)"$/  \1 skipped: \2/'
    ;;
  apk)
    need javac:default-jdk-headless mvn:maven aapt2:aapt zipalign:zipalign apksigner:apksigner
    maven -Papk -DskipTests package
    apk=app/target/app-debug.apk
    zipalign -c -p 4 "$apk"
    apksigner verify --verbose "$apk" | grep -E 'Verifies|v2 scheme'
    aapt2 dump badging "$apk" | grep -E "^(package|sdkVersion|targetSdkVersion|uses-permission|launchable|native-code)"
    unzip -Z1 "$apk" | grep -E '^(assets/.*\.tflite|classes|lib/)'
    echo "android_demo/$apk: $(stat -c %s "$apk" | numfmt --to=si)B"
    ;;
  *)
    echo "usage: build.sh test|apk" >&2
    exit 2
    ;;
esac
