#!/bin/sh
# Runs every fuzz test of the module for a while: sh scripts/fuzz.sh 30s
set -eu
time=${1:-30s}
grep -rl --include='*_test.go' '^func Fuzz' . | sort | while read -r file; do
	dir=$(dirname "$file")
	sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | while read -r name; do
		echo "== $dir $name"
		(cd "$dir" && go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" . </dev/null) # it may be a module of its own
	done
done
