#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# install.sh install|uninstall: libceph.ko and ceph.ko under updates/ of the running
# kernel, where modprobe and `mount -t ceph` find them before the C ones.
#
# INSTALL_MOD_PATH   another root, for images; loaded modules do not matter then
# KERNELRELEASE      another kernel than the running one; its series chooses what is built
# MODULES            a folder with libceph.ko and ceph.ko that are built (and signed)
#                    already, for machines that cannot build
# SIGN_KEY SIGN_CERT key and certificate to sign with (Secure Boot)
. "$(dirname "${BASH_SOURCE[0]}")/testing/lib.sh"
need_root

root=${INSTALL_MOD_PATH:-}
release=${KERNELRELEASE:-$(uname -r)}
series=$(cut -d. -f1,2 <<<"$release")
lib=$root/lib/modules/$release
updates=$lib/updates/ceph-rust

loaded() { [ -z "$root" ] && [ -d "/sys/module/$1" ]; }

# The C modules are in the kernel's tree, ours are not: taint O.
ours() { grep -q O "/sys/module/$1/taint" 2>/dev/null; }

secure_boot() {
	local var=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
	[ -e "$var" ] && [ "$(od -An -tu1 -j4 -N1 "$var" | tr -d ' ')" = 1 ]
}

# This machine's depmod, or else the toolbox's.
run_depmod() {
	local box tool=(depmod)
	if ! command -v depmod >/dev/null; then
		box=$(toolbox_dir)
		tool=("$box/lib64/ld-linux-x86-64.so.2" --argv0 depmod
			--library-path "$box/usr/lib/x86_64-linux-gnu" "$box/usr/sbin/depmod")
	fi
	"${tool[@]}" ${root:+-b "$root"} "$release"
}

# place OUT MODULE: one module to its place, whole or not at all.
place() {
	local out=$1 m=$2 new=$updates/.$2.ko kernel
	if [ -n "${MODULES:-}" ]; then
		cp "$out/$m.ko" "$new"
	else
		cp "$out/$m.ko" "$out/$m.ko.install"
		in_toolbox strip --strip-debug "$(box_path "$out")/$m.ko.install"
		if [ -n "${SIGN_KEY:-}" ]; then
			kernel=$("$TESTING/kernel/build.sh" "$series")
			cp "$SIGN_KEY" "$out/.key" && cp "${SIGN_CERT:?SIGN_CERT= is missing}" "$out/.cert"
			in_toolbox "$(box_path "$kernel")/scripts/sign-file" sha256 \
				"$(box_path "$out")/.key" "$(box_path "$out")/.cert" \
				"$(box_path "$out")/$m.ko.install"
			rm -f "$out/.key" "$out/.cert"
		fi
		mv "$out/$m.ko.install" "$new"
	fi
	mv "$new" "$updates/$m.ko"
}

install_modules() {
	local m out built
	if loaded rbd; then
		die "rbd is loaded, and it needs the C libceph. Unmap its devices and 'modprobe -r rbd' first.
While our modules are installed rbd cannot be loaded, until 'make uninstall'."
	fi
	for m in ceph libceph; do
		if loaded $m && ! ours $m; then
			die "the C module $m is loaded. Unmount every ceph file system, then 'modprobe -r ceph libceph'."
		fi
	done
	[ -d "$lib" ] || die "no $lib: kernel $release is not installed"
	[ -z "${MODULES:-}" ] || [ -z "${SIGN_KEY:-}" ] ||
		die "MODULES are installed as they are: sign them before, or leave SIGN_KEY out"
	if [ -z "${MODULES:-}" ]; then
		is_series "$series" || die "$release is no kernel that this client builds for.
It knows these series of Debian's kernel: $(all_series | xargs)"
		out=$("$TESTING/kernel/modules.sh" -k "$series")
	else
		out=$MODULES
	fi
	for m in libceph ceph; do
		[ -f "$out/$m.ko" ] || die "there is no $out/$m.ko"
	done
	built=$(grep -azo 'vermagic=[^ ]*' "$out/libceph.ko" | tr -d '\0')
	built=${built#vermagic=}
	[ "$release" = "$built" ] || die "the modules are for Debian's kernel $built, and this is $release.
Install that kernel and boot it:  apt install -t trixie-backports linux-image-$built"
	mkdir -p "$updates"
	for m in libceph ceph; do
		place "$out" $m
	done
	run_depmod
	say "Installed in $updates. 'mount -t ceph' uses them from now on."
	say "rbd cannot be loaded until 'make uninstall': it needs the C libceph."
	if [ -z "$root" ] && { loaded ceph || loaded libceph; }; then
		say "The modules that are loaded stay until 'modprobe -r ceph libceph'."
	fi
	if [ -z "$root" ] && [ -z "${SIGN_KEY:-}" ] && secure_boot; then
		say "Secure Boot is on: the kernel refuses modules that are not signed. Make a key, enrol"
		say "it, reboot, and install again signed with it:"
		say "  openssl req -new -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=ceph-rust/ \\"
		say "      -outform DER -keyout /root/mok.key -out /root/mok.der"
		say "  mokutil --import /root/mok.der     # asks for a password, again at the next boot"
		say "  make install SIGN_KEY=/root/mok.key SIGN_CERT=/root/mok.der"
	fi
}

uninstall_modules() {
	[ -d "$updates" ] || die "nothing is installed in $updates"
	rm -rf "$updates"
	rmdir --ignore-fail-on-non-empty "$lib/updates"
	run_depmod
	say "Removed from $lib. The C modules are used from now on."
	if loaded ceph || loaded libceph; then
		say "The modules that are loaded stay until 'modprobe -r ceph libceph'."
	fi
}

case ${1:-} in
install) install_modules ;;
uninstall) uninstall_modules ;;
*) die "install.sh install|uninstall" ;;
esac
