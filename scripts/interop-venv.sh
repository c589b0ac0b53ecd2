#!/bin/sh
# Makes the virtual environment in which the interoperability tests run Python,
# and prints the path of its python; all else goes to standard error.
#
#   sh scripts/interop-venv.sh [requirements [folder]]
#
# The folder holds what a file of interop/ pins, such as requirements-older.txt, or
# requirements.txt if none is named. Without a folder, it lies in
# the user's cache under a name made from the requirements and the Python, so a
# second run costs nothing. Several runs at once are safe. PYTHON names the
# python to use, python3 if it is not set. On Debian and its relatives root has
# python3-venv installed where it is missing; elsewhere the script says what is
# missing and exits with 1.
set -eu

requirements=$(dirname "$0")/../interop/${1:-requirements.txt}
python=${PYTHON:-python3}

give_up() {
	echo "interop-venv: $1" >&2
	exit 1
}

# usable tells whether the python is there, new enough and can make virtual
# environments (Debian's comes without ensurepip).
usable() {
	"$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

install_python() {
	command -v apt-get >/dev/null 2>&1 || give_up "needs $python 3.11 or newer with venv and ensurepip, and there is no apt-get to install them"
	[ "$(id -u)" = 0 ] || give_up "needs $python 3.11 or newer with venv and ensurepip (Debian: python3-venv), and is not root to install them"
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq update >&2 || echo "interop-venv: apt-get update failed, trying with what is known" >&2
	apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends python3 python3-venv >&2 ||
		give_up "apt-get could not install python3-venv"
	usable || give_up "$python is older than 3.11 or has no venv and ensurepip, even with python3-venv installed"
}

# hash_of names the environment: by the requirements, and by the python itself.
hash_of() {
	"$python" - "$requirements" <<-'PYTHON'
		import hashlib, pathlib, sys
		text = pathlib.Path(sys.argv[1]).read_text() + sys.version + sys.base_prefix
		print(hashlib.sha256(text.encode()).hexdigest()[:16])
	PYTHON
}

# fresh tells whether the folder holds exactly what is asked for.
fresh() {
	[ "$(cat "$folder/complete" 2>/dev/null)" = "$hash" ] && "$folder/bin/python" -c 'import celery' 2>/dev/null
}

# build empties the folder, unless it holds something else.
build() {
	if [ -n "$(ls -A "$folder" 2>/dev/null)" ] && [ ! -e "$folder/pyvenv.cfg" ]; then
		give_up "$folder is neither empty nor a virtual environment"
	fi
	"$python" -m venv --clear "$folder" >&2 || give_up "could not make a virtual environment in $folder"
	"$folder/bin/python" -m pip install --quiet --no-deps --only-binary :all: -r "$requirements" >&2 ||
		give_up "pip could not install $requirements"
	problems=$("$folder/bin/python" -m pip check 2>&1) || give_up "$requirements does not pin all that is needed: $problems"
	echo "$hash" >"$folder/complete"
}

usable || install_python
hash=$(hash_of)
if [ $# -gt 1 ]; then
	folder=$2
else
	cache=${XDG_CACHE_HOME:-${HOME:?interop-venv: needs HOME, XDG_CACHE_HOME or a folder as argument}/.cache}
	folder=$cache/celeryresults/interop-$hash
fi
if ! fresh; then
	mkdir -p "$(dirname "$folder")"
	exec 9>"$folder.lock" # Python locks the open file, this shell keeps it open
	"$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
	fresh || build
fi
echo "$(cd "$folder" && pwd)/bin/python"
