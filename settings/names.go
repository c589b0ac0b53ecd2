package settings

import (
	"math"
	"regexp"
	"strings"
)

// namespace begins the names of Celery's settings in a Django settings module.
const namespace = "CELERY_"

// byName finds a row by any of its upper-case names, byLower by Celery's own.
var byName, byLower = index()

func index() (upper, lower map[string]*setting) {
	upper, lower = make(map[string]*setting), make(map[string]*setting)
	for i := range table {
		row := &table[i]
		upper[row.name] = row
		for _, name := range row.older {
			upper[name] = row
		}
		if name, celery := strings.CutPrefix(row.name, namespace); celery {
			lower[strings.ToLower(name)] = row
		}
	}
	return upper, lower
}

// known holds what may be meant by a name that is wrong.
var known = knownNames()

func knownNames() []string {
	var names []string
	for i := range table {
		names = append(append(names, table[i].name), table[i].older...)
	}
	for _, name := range strings.Fields(unrelated) {
		names = append(names, namespace+name)
	}
	return names
}

var isUnrelated = func() map[string]bool {
	set := make(map[string]bool)
	for _, name := range strings.Fields(unrelated) {
		set[name] = true
	}
	return set
}()

var djangoName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

// bare are the names of Celery's that no Django project has for anything else.
var bare = regexp.MustCompile(`^(RESULT|TASK)_`)

// findUpper returns the setting that name means in a Django settings module,
// nil for a name that is none of ours.
func findUpper(name string) (*setting, error) {
	if row := byName[name]; row != nil {
		return row, nil
	}
	suffix, celery := strings.CutPrefix(name, namespace)
	switch {
	case celery && isUnrelated[suffix]:
		return nil, nil
	case celery || !djangoName.MatchString(name):
		return nil, unknown(name, known)
	case bare.MatchString(name) && byName[namespace+name] != nil:
		return nil, wrong(name, "means nothing without its namespace; write %s", namespace+name)
	}
	return nil, misspelt(name)
}

// findLower is findUpper for maps without any CELERY_ name.
func findLower(name string) (*setting, error) {
	if row := byLower[name]; row != nil {
		return row, nil
	}
	upper := strings.ToUpper(name)
	switch {
	case name == upper:
		return findUpper(name)
	case name == strings.ToLower(name) && isUnrelated[upper]:
		return nil, nil
	}
	return nil, unknownLower(name)
}

// unknownLower names the nearest setting as it is spelt without a namespace.
func unknownLower(name string) error {
	names := make([]string, len(known))
	for i, k := range known {
		if n, celery := strings.CutPrefix(k, namespace); celery {
			k = strings.ToLower(n)
		}
		names[i] = k
	}
	return unknown(name, names)
}

// misspelt reports an upper-case name that is nearly one of ours outside
// Celery's namespace.
func misspelt(name string) error {
	for i := range table {
		own := table[i].name
		if !strings.HasPrefix(own, namespace) && isSlip(name, own) {
			return unknown(name, []string{own})
		}
	}
	return nil
}

// isSlip reports whether name is own but for one or two letters.
func isSlip(name, own string) bool {
	return distance(name, own, 1) <= 2
}

// unknown is the error for a name that means nothing, with the nearest of
// names, which must not be empty.
func unknown(name string, names []string) error {
	return wrong(name, "is unknown; did you mean %s?", nearest(name, names))
}

// nearest returns the first of names that is least different from name, in
// whatever case. Wrong letters count double: people leave out words.
func nearest(name string, names []string) string {
	var best string
	least := math.MaxInt
	for _, candidate := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(candidate), 2); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// maxName is the longest name that is compared or shown.
const maxName = 80

// distance adds up what makes b of a: 1 for each letter to insert, and edit for
// each one to delete, to replace or to swap with its neighbour.
func distance(a, b string, edit int) int {
	a, b = a[:min(len(a), maxName)], b[:min(len(b), maxName)]
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i * edit
		for j := 1; j <= len(b); j++ {
			same := row[j-1]
			if a[i-1] != b[j-1] {
				same += edit
			}
			next[j] = min(same, row[j]+edit, next[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+edit)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
