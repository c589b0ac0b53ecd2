#!/bin/sh
# Installs the servers that the tests use, as far as they are missing: Redis,
# memcached, PostgreSQL and MariaDB; and the browser, a headless Chromium. Needs Debian or a relative of it, and
# root; elsewhere it says so and exits with 0, as the tests run without them.
# The packages' own services are not started: the tests start what they need.
set -eu

policy=/usr/sbin/policy-rc.d

# locate prints the path of a server program, or nothing.
locate() {
	for candidate in $(command -v "$1" 2>/dev/null) /usr/sbin/"$1" /usr/lib/postgresql/*/bin/"$1"; do
		if [ -x "$candidate" ]; then
			echo "$candidate"
			return
		fi
	done
}

missing_packages() {
	[ -n "$(locate redis-server)" ] || echo redis-server
	[ -n "$(locate memcached)" ] || echo memcached
	[ -n "$(locate postgres)" ] || echo postgresql
	[ -n "$(locate mariadbd)$(locate mysqld)" ] || echo mariadb-server
	[ -n "$(browser)" ] || echo chromium-headless-shell fonts-dejavu-core
}

# browser prints the path of a Chromium, or nothing.
browser() {
	for name in chromium-headless-shell headless-shell chromium chromium-browser google-chrome; do
		locate "$name"
	done | head -n 1
}

report() {
	for program in redis-server memcached postgres mariadbd; do
		found=$(locate "$program")
		echo "$program: ${found:-not installed}"
	done
	found=$(browser)
	echo "chromium: ${found:-not installed}"
}

give_up() {
	echo "install-servers: $1; tests that need the missing servers will not run"
	report
	exit 0
}

# forbid_services keeps packages from starting their services; the file is
# removed again at the end unless it was there before.
forbid_services() {
	[ ! -e "$policy" ] || return 0
	trap 'rm -f "$policy"' EXIT
	trap 'exit 1' HUP INT TERM
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
}

# The package names hold no spaces, and are to be split.
packages=$(missing_packages)
if [ -n "$packages" ]; then
	command -v apt-get >/dev/null 2>&1 || give_up "no apt-get here to install $(echo $packages)"
	[ "$(id -u)" = 0 ] || give_up "not root, so cannot install $(echo $packages)"
	forbid_services
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq update || echo "install-servers: apt-get update failed, trying with what is known"
	apt-get -qq install -y --no-install-recommends $packages || give_up "apt-get could not install $(echo $packages)"
fi
report
