#!/bin/sh
# Unpacks a real Asterisk and the libraries it needs into a folder to chroot into; tests/e2e/test_asterisk.py runs it.
# usage: asterisk.sh FOLDER      as root; from the Debian mirror that this machine's apt uses, and by apt's keys
set -eu

release=forky # the first Debian whose Asterisk has chan_websocket

say() { printf 'asterisk: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

[ $# = 1 ] || die "usage: asterisk.sh FOLDER"
if [ -e "$1/VERSION" ] && [ -x "$1/usr/sbin/asterisk" ]; then
    say "$(cat "$1/VERSION") is in $1 already"
    exit 0
fi

[ "$(id -u)" = 0 ] || die "must run as root, which chroot into $1 needs"
command -v apt-get >/dev/null || die "needs apt-get, which this machine has not"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 '/debian/*$') ||
    die "apt on this machine knows no Debian mirror"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$keyring" ] || die "$keyring is missing:  apt-get install debian-archive-keyring"
mkdir -p "$1"
rmdir "$1" 2>/dev/null || die "$1 holds something else; remove it and try again"

work=$(mktemp -d "$1.XXXXXX")
work=$(cd "$work" && pwd)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$work/lists" "$work/archives/partial"
: >"$work/status"

# An apt of its own, in which nothing is installed: this machine's packages are neither counted nor touched.
echo "deb [signed-by=$keyring] $mirror $release main" >"$work/sources"
cat >"$work/apt.conf" <<END
Dir::State "$work"; Dir::State::lists "$work/lists"; Dir::State::status "$work/status"; Dir::Cache "$work";
Dir::Etc::sourcelist "$work/sources"; Dir::Etc::sourceparts "-"; Dir::Etc::preferencesparts "-";
APT::Install-Recommends "false"; APT::Sandbox::User "root"; Acquire::Languages "none";
Acquire::Retries "3"; Acquire::http::Timeout "20"; Acquire::https::Timeout "20";
END
export APT_CONFIG="$work/apt.conf"
apt-get update -qq >"$work/log" 2>&1 || die "no $release from this machine's mirror: $(tail -n 1 "$work/log")"
apt-get install -qq --yes --download-only asterisk >"$work/log" 2>&1 ||
    die "no Asterisk from this machine's mirror: $(tail -n 1 "$work/log")"

# Unpacked, not installed: no package's script runs.
tree=$work/tree
mkdir -p "$tree/dev" "$tree/tmp" "$tree/usr/bin" "$tree/usr/sbin" "$tree/usr/lib" "$tree/usr/lib64"
for link in bin sbin lib lib64; do ln -s "usr/$link" "$tree/$link"; done
for package in "$work"/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$tree" --keep-directory-symlink \
        --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*'
done
# Where these are not allowed, Asterisk grumbles and does without.
mknod -m 666 "$tree/dev/null" c 1 3 2>/dev/null || true
mknod -m 666 "$tree/dev/urandom" c 1 9 2>/dev/null || true
chroot "$tree" /usr/sbin/asterisk -V >"$tree/VERSION" 2>"$work/log" ||
    die "it does not run here: $(tail -n 1 "$work/log")"
mv "$tree" "$1"
say "$(cat "$1/VERSION") is in $1"
