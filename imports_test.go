package celeryresults_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/celeryresults/celeryresults"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath                         string
	Standard                           bool
	Imports, TestImports, XTestImports []string
	Deps                               []string
}

func listPackages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports,Deps", "./...").Output()
	require.NoError(t, err)
	var list []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return list
		}
		require.NoError(t, err)
		list = append(list, p)
	}
}

// own returns the module's packages among paths, without the module's name.
func own(paths []string) []string {
	var list []string
	for _, p := range paths {
		if p == module {
			list = append(list, ".")
		} else if rest, ok := strings.CutPrefix(p, module+"/"); ok {
			list = append(list, rest)
		}
	}
	return list
}

// thirdParty returns the paths that are neither standard nor the module's.
func thirdParty(paths []string) []string {
	var list []string
	for _, p := range paths {
		first, _, _ := strings.Cut(p, "/")
		if strings.Contains(first, ".") && p != module && !strings.HasPrefix(p, module+"/") && !strings.HasPrefix(p, "vendor/") {
			list = append(list, p)
		}
	}
	return list
}

// layers says what each package, by the beginning of its path, may import from
// this module. The first match counts.
var layers = []struct {
	pkg   string
	allow []string
}{
	{"python/pickle", []string{"python"}},
	{"python", nil},
	{"internal/serialization/registry", []string{"internal/serialization"}},
	{"internal/serialization", []string{"python", "internal/serialization"}},
	{"internal/compression", []string{"internal/serialization"}},
	{"internal/inflight", nil},
	{"internal/merge", nil},
	{"internal/sqldialect", []string{"cache"}},
	{"internal/redisclient", []string{"cache", "internal/inflight"}},
	{"internal/retry", nil},
	{"internal/rank", nil},
	{"internal/waiting", nil},
	{"internal/writes", []string{"driver", "internal/merge", "internal/retry"}},
	{"internal/keys", []string{".", "driver"}},
	{"internal/schemes", nil},
	{"internal/pattern", nil},
	{"internal/mask", nil},
	{"internal/survey", []string{".", "internal/pattern", "python"}},
	{"internal/sqlstore", []string{".", "cache", "driver", "internal/retry", "internal/sqldialect"}},
	{"driver/drivertest", []string{".", "driver", "cache", "python", "internal/document", "internal/survey"}},
	{"driver", []string{"internal/rank"}},
	{"internal/resultschema", []string{"internal/sqldialect"}},
	{"internal/sqlstore", []string{".", "cache", "driver", "internal/retry", "internal/sqldialect"}},
	{"internal/testserver", []string{"internal/testserver"}},
	{"cache/caches", []string{"cache", "internal"}},
	{"cache/cachetest", []string{"cache", "python"}},
	{"cache/", []string{"cache", "internal/compression", "internal/inflight", "internal/redisclient", "internal/serialization", "internal/sqldialect"}},
	{"cache", []string{"python", "internal/serialization", "internal/merge"}},
	{".", []string{
		"cache", "driver", "python", "internal/mask", "internal/merge", "internal/pattern", "internal/retry", "internal/schemes", "internal/serialization", "internal/waiting",
		"internal/writes",
	}},
	{"internal/doctor", []string{".", "cache", "internal/document", "internal/mask", "internal/schemes", "internal/serialization"}},
	{"internal/document", []string{".", "driver", "python", "internal/compression", "internal/keys", "internal/serialization"}},
	{"web", []string{".", "cache", "driver", "internal/survey", "python"}},
	{"observe/prometheus", []string{".", "observe"}},
	{"observe", []string{"."}},
	{"settings", []string{".", "cache", "internal/mask", "internal/schemes"}},
	{"backends/", []string{".", "cache", "driver", "internal", "python"}},
	{"backends", []string{".", "cache", "driver", "backends", "internal"}},
	{"cmd/", []string{""}},
	{"examples/", []string{""}},
	{"interop", nil},
}

func TestImportsPointDownwards(t *testing.T) {
	for _, p := range listPackages(t) {
		name := own([]string{p.ImportPath})[0]
		i := slices.IndexFunc(layers, func(l struct {
			pkg   string
			allow []string
		}) bool {
			return name == l.pkg || strings.HasPrefix(name, l.pkg) && l.pkg != "."
		})
		require.GreaterOrEqual(t, i, 0, "%s has no layer: say in layers what it may import", name)
		for _, imported := range own(p.Imports) {
			allowed := slices.ContainsFunc(layers[i].allow, func(a string) bool {
				return imported == a || a == "" || strings.HasPrefix(imported, a+"/")
			})
			assert.True(t, allowed, "%s must not import %s", name, imported)
		}
	}
}

func TestDriversDoNotImportEachOther(t *testing.T) {
	drivers := []string{"cache/locmem", "cache/memcached", "cache/rediscache", "cache/dbcache"}
	for _, p := range listPackages(t) {
		name := own([]string{p.ImportPath})[0]
		if !slices.Contains(drivers, name) {
			continue
		}
		for _, imported := range own(p.Imports) {
			assert.False(t, slices.Contains(drivers, imported), "%s must not import %s", name, imported)
		}
	}
}

// TestContractsUseTheStandardLibraryAlone keeps third parties out of what every
// program links.
func TestContractsUseTheStandardLibraryAlone(t *testing.T) {
	contracts := []string{
		".", "cache", "python", "python/pickle", "internal/serialization", "internal/serialization/json",
		"internal/inflight", "internal/merge", "internal/sqldialect", "driver", "internal/rank", "internal/waiting", "internal/writes", "internal/retry",
	}
	for _, p := range listPackages(t) {
		name := own([]string{p.ImportPath})[0]
		if slices.Contains(contracts, name) {
			assert.Empty(t, thirdParty(p.Deps), "%s must need no module", name)
		}
	}
}

func TestTestLibrariesStayInTests(t *testing.T) {
	suites := []string{"cache/cachetest", "driver/drivertest", "internal/testserver"}
	libraries := []string{
		"testing", "github.com/stretchr/testify", "github.com/alicebob/miniredis/v2", "go.uber.org/goleak",
		"pgregory.net/rapid", "github.com/google/go-cmp", "github.com/kisielk/og-rek",
	}
	for _, p := range listPackages(t) {
		name := own([]string{p.ImportPath})[0]
		if slices.ContainsFunc(suites, func(s string) bool { return strings.HasPrefix(name, s) }) {
			continue
		}
		for _, dep := range p.Deps {
			for _, library := range libraries {
				assert.False(t, dep == library || strings.HasPrefix(dep, library+"/") && library != "testing", "%s links %s", name, dep)
			}
		}
	}
}

// TestMetricsAreLeftToThoseWhoWantThem keeps Prometheus' client out of other programs.
func TestMetricsAreLeftToThoseWhoWantThem(t *testing.T) {
	linked := 0
	for _, p := range listPackages(t) {
		name := own([]string{p.ImportPath})[0]
		for _, dep := range p.Deps {
			if !strings.HasPrefix(dep, "github.com/prometheus/") {
				continue
			}
			linked++
			assert.True(t, name == "observe/prometheus" || strings.HasPrefix(name, "cmd/"), "%s links %s", name, dep)
		}
	}
	assert.Positive(t, linked)
}

// TestSQLDriversAreLeftToThePrograms keeps drivers out of the library.
func TestSQLDriversAreLeftToThePrograms(t *testing.T) {
	drivers := []string{"github.com/jackc/pgx/v5", "github.com/go-sql-driver/mysql", "modernc.org/sqlite"}
	for _, p := range listPackages(t) {
		name := own([]string{p.ImportPath})[0]
		if strings.HasPrefix(name, "cmd/") || strings.HasPrefix(name, "examples/") || strings.HasPrefix(name, "internal/testserver") {
			continue
		}
		for _, dep := range p.Deps {
			assert.NotContains(t, drivers, dep, "%s links a driver", name)
		}
	}
}

// TestAdaptersKeepTheirModules keeps the requirements of the adapters from everybody
// else: each is a module of its own.
func TestAdaptersKeepTheirModules(t *testing.T) {
	required, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	for _, module := range []string{"gocelery", "machinery", "gopher-celery", "go.opentelemetry.io"} {
		assert.NotContains(t, string(required), module)
	}
	modules, err := filepath.Glob("adapters/*/go.mod")
	require.NoError(t, err)
	assert.Len(t, modules, 4)
}
