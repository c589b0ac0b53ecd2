#!/bin/sh
# Runs the tests of the packages: sh scripts/test.sh ./...
#
# All run with the race detector, except those below: they start no goroutines,
# or only use packages that are tested with it. A new package has the detector
# until it is listed here, and `make soak` has it everywhere. What go vet finds,
# `make lint` finds.
set -u

# Without goroutines; that is checked.
plain='python settings internal/compression internal/doctor internal/document internal/keys
internal/mask internal/pattern internal/rank internal/redisclient internal/schemes internal/serialization internal/survey'
# With few, and tests that mostly wait for other programs.
users='cmd examples interop'

go=${GO:-go}
module=$($go list -m) && packages=$($go list "$@") || exit 1
pattern="^$module/($(echo $plain $users | tr ' ' '|'))(/|\$)"

# test_them runs go test, with an option, on the packages of standard input.
test_them() {
	names=$(cat)
	[ -z "$names" ] || $go test -vet=off -timeout 15m $1 $names
}

status=0
if grep -rnE --include='*.go' --exclude='*_test.go' '^[^/"]*(\bgo (func|[a-zA-Z.]+)\(|\.Go\()' $plain 2>/dev/null; then
	echo 'scripts/test.sh: take these packages off the list of those without goroutines'
	status=1
fi
began=$(date +%s)
# Backwards, so that interop, which takes longest, starts early.
echo "$packages" | grep -E "$pattern" | sort -r | test_them '' || status=1
echo "without the race detector: $(($(date +%s) - began))s"
began=$(date +%s)
echo "$packages" | grep -vE "$pattern" | test_them -race || status=1
echo "with the race detector: $(($(date +%s) - began))s"
exit $status
