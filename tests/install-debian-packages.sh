#!/bin/sh
# Installs what the tests with a real RTSP server need, on Debian and its relatives. Without it those tests are skipped.
set -eu
packages="python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good
  gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
# shellcheck disable=SC2086 # a list of words
$as_root apt-get update && $as_root apt-get install --yes --no-install-recommends $packages
