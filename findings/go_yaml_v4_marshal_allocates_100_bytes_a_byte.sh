#!/bin/sh
# go.yaml.in/yaml/v4 v4.0.0, Go 1.26.
#
# Marshal of one document allocates over a hundred bytes for each byte of YAML that it
# writes: a list of 200 000 short texts, 1.4 MB of YAML, costs several hundred megabytes of
# allocations, and time accordingly. Its size limits what a service can write as one document.
#
# Seen:
#   1400000 bytes of YAML, 261 bytes allocated for each
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat > go.mod <<'MOD'
module finding

go 1.26

require go.yaml.in/yaml/v4 v4.0.0
MOD
cat > main.go <<'GO'
package main

import (
	"fmt"
	"os"
	"runtime"

	"go.yaml.in/yaml/v4"
)

func main() {
	list := make([]string, 200_000)
	for i := range list {
		list[i] = "text"
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	out, err := yaml.Marshal(list)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	runtime.ReadMemStats(&after)
	each := (after.TotalAlloc - before.TotalAlloc) / uint64(len(out))
	fmt.Printf("%d bytes of YAML, %d bytes allocated for each\n", len(out), each)
	if each < 100 {
		os.Exit(1)
	}
}
GO
go mod tidy >/dev/null 2>&1
go run .
