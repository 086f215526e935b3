#!/bin/sh
# Bring the system packages that the tests need: nginx and openssl (cancellation through a proxy), Node.js
# with npm (the editors' own clients), bubblewrap (the sandbox of untrusted programs),
# the compilers of C, C++ and Go and the browser, which are judged in it (the browser looks at the console,
# too), and Redis (a store of experiments). Called by `make test`; does nothing when they are there.
set -eu

export PATH="$PATH:/usr/sbin:/sbin"
missing=""
command -v bwrap >/dev/null || missing="$missing bubblewrap"
command -v gcc >/dev/null || missing="$missing gcc libc6-dev"
command -v g++ >/dev/null || missing="$missing g++"
command -v go >/dev/null || missing="$missing golang-go"
command -v chromium-headless-shell >/dev/null || missing="$missing chromium-headless-shell fonts-liberation"
command -v nginx >/dev/null || missing="$missing nginx-light"
command -v openssl >/dev/null || missing="$missing openssl"
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"
command -v redis-server >/dev/null || missing="$missing redis-server"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then as_root=""
elif sudo -n true 2>/dev/null; then as_root="sudo -n"
else as_root=none; fi

if [ "$as_root" = none ] || ! command -v apt-get >/dev/null; then
  echo "make test needs these system packages; install them and call it again:$missing" >&2
  exit 1
fi

echo "installing system packages:$missing"
log=$(mktemp)
# RUNLEVEL=1 keeps the packages from starting a service of their own on a port of the machine.
if ! { timeout 300 $as_root apt-get update -q &&
  timeout 900 $as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends $missing; } >"$log" 2>&1 </dev/null; then
  tail -n 15 "$log" >&2
  echo "system packages could not be installed:$missing" >&2
  exit 1
fi
rm -f "$log"
