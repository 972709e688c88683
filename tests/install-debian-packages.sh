#!/bin/sh
# Installs what tests with real servers need, on Debian and its relatives: RTSP, RTMP, Redis beside Valkey, MQTT,
# Prometheus, a clock that jumps, a browser, Node and TypeScript. Without it those tests are skipped.
set -eu
packages="python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good
  gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly redis-server mosquitto prometheus
  nginx-core libnginx-mod-rtmp faketime chromium nodejs node-redis node-typescript"
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
# shellcheck disable=SC2086 # a list of words
# RUNLEVEL=1 keeps the packages from starting services of their own.
$as_root apt-get update && $as_root env RUNLEVEL=1 apt-get install --yes --no-install-recommends $packages
