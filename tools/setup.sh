#!/usr/bin/env bash
# Sets a machine up to build skbscope: installs what is missing through apt, configures, builds. Sourced by ./run and
# ./test, which call its functions; everything it prints goes to stderr, so that the program's own output can be piped.
#
#   setup_packages build|test|bench|vm   install the packages of that group (bench and test include build)
#   setup_build PRESET TARGET...      configure build/PRESET if need be and build the targets
#
# SKBSCOPE_SETUP=skip installs nothing: for a machine of another kind, or one without rights to install.

set -euo pipefail

# Names as in Debian 12; Ubuntu 24.04 uses the same.
packages_build=(
  build-essential ccache cmake fonts-dejavu-core fonts-inter libcli11-dev libexpected-dev libfmt-dev libmnl-dev libpcap-dev
  libqcustomplot-dev libtracecmd-dev libtraceevent-dev libtracefs-dev libyaml-cpp-dev libzstd-dev ninja-build
  nlohmann-json3-dev pkg-config qt6-base-dev qt6-svg-dev zlib1g-dev
)
packages_test=(libgmock-dev libgtest-dev tshark xauth xvfb)
packages_bench=(libbenchmark-dev)
packages_vm=(binutils busybox-static cpio dash gcc iproute2 kmod libc6-dev python3 qemu-system-x86 util-linux xz-utils zstd)

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename -- "$0"): $*"; exit 1; }

# Prints those of the named packages that are not installed. dpkg-query fails when it does not know one of them, and
# prints the others all the same.
missing_packages() {
  local installed name
  installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
  for name in "$@"; do
    grep -qxF "$name installed" <<<"$installed" || printf '%s\n' "$name"
  done
}

# Succeeds where the package names above are known to hold.
is_known_distribution() {
  local id=''
  [ -r /etc/os-release ] && id=$(. /etc/os-release && printf '%s' "${ID:-}")
  case "$id" in debian | ubuntu) command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ;; *) false ;; esac
}

setup_packages() {
  local wanted=("${packages_build[@]}") missing as_root=()
  case "$1" in
    build) ;;
    test) wanted+=("${packages_test[@]}") ;;
    bench) wanted+=("${packages_bench[@]}") ;;
    vm) wanted=("${packages_vm[@]}") ;;
    *) die "setup_packages: no group '$1'" ;;
  esac
  [ "${SKBSCOPE_SETUP:-}" != skip ] || return 0
  if ! is_known_distribution; then
    say "skbscope is set up by itself on Debian 12 only. Here, please install what these Debian packages hold:"
    say "  ${wanted[*]}"
    say "and run again with SKBSCOPE_SETUP=skip in the environment."
    exit 4
  fi
  mapfile -t missing < <(missing_packages "${wanted[@]}")
  [ "${#missing[@]}" -gt 0 ] || return 0

  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
      die "these packages are missing, and there is no sudo to install them with; as root: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "Installing ${#missing[@]} missing packages: ${missing[*]}"
  # noninteractive: tshark's package asks who may capture; we capture nothing with it.
  as_root+=(env DEBIAN_FRONTEND=noninteractive)
  "${as_root[@]}" apt-get update -q >&2 || say "apt-get update failed; trying with the lists that are there"
  "${as_root[@]}" apt-get install -q -y --no-install-recommends "${missing[@]}" >&2 ||
    die "apt-get could not install: ${missing[*]}"
}

setup_build() {
  local preset="$1" dir="build/$1"
  shift
  # Ninja runs cmake again by itself when a CMakeLists.txt changed, but does not know of the presets.
  if [ ! -e "$dir/build.ninja" ] || [ CMakePresets.json -nt "$dir/build.ninja" ]; then
    cmake --preset "$preset" >&2 || die "configuring failed; the reason stands above"
    touch "$dir/build.ninja"
  fi
  # A dry run first: with nothing to do there is nothing to say.
  if ninja -C "$dir" -n "$@" 2>/dev/null | tail -n 1 | grep -q 'no work to do'; then
    return 0
  fi
  ninja -C "$dir" -j "$(nproc)" "$@" >&2 || die "building failed; the reason stands above"
}
