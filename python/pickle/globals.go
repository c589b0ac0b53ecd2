package pickle

import (
	"math"

	"github.com/celeryresults/celeryresults/python"
)

// constructor is a pure function that the machine understands. It returns
// false for arguments that it does not expect; the call then stays an object.
type constructor func(m *machine, args []value) (value, bool)

// findGlobal returns the class or function of that name, as Python 3 calls it.
// Protocols below 3 use the names of Python 2.
func findGlobal(module, name []byte, proto byte) global {
	if proto < 3 {
		if g, ok := python2[python.Class{Module: string(module), Name: string(name)}]; ok {
			return globalOf(g)
		}
		if m, ok := python2Modules[string(module)]; ok {
			return globalOf(python.Class{Module: m, Name: string(name)})
		}
	}
	if g, ok := constructors[string(module)][string(name)]; ok {
		return g
	}
	return global{name: python.Class{Module: string(module), Name: string(name)}}
}

func globalOf(c python.Class) global {
	return global{name: c, call: constructors[c.Module][c.Name].call}
}

// python2 are the classes that moved by themselves, and python2Modules the
// modules that were renamed: CPython's fix_imports, for what data can hold.
var (
	python2 = map[python.Class]python.Class{
		{Module: "__builtin__", Name: "basestring"}:    {Module: "builtins", Name: "str"},
		{Module: "__builtin__", Name: "long"}:          {Module: "builtins", Name: "int"},
		{Module: "__builtin__", Name: "unichr"}:        {Module: "builtins", Name: "chr"},
		{Module: "__builtin__", Name: "unicode"}:       {Module: "builtins", Name: "str"},
		{Module: "__builtin__", Name: "xrange"}:        {Module: "builtins", Name: "range"},
		{Module: "__builtin__", Name: "reduce"}:        {Module: "functools", Name: "reduce"},
		{Module: "__builtin__", Name: "intern"}:        {Module: "sys", Name: "intern"},
		{Module: "exceptions", Name: "StandardError"}:  {Module: "builtins", Name: "Exception"},
		{Module: "itertools", Name: "izip"}:            {Module: "builtins", Name: "zip"},
		{Module: "itertools", Name: "imap"}:            {Module: "builtins", Name: "map"},
		{Module: "itertools", Name: "ifilter"}:         {Module: "builtins", Name: "filter"},
		{Module: "UserDict", Name: "UserDict"}:         {Module: "collections", Name: "UserDict"},
		{Module: "UserDict", Name: "IterableUserDict"}: {Module: "collections", Name: "UserDict"},
		{Module: "UserList", Name: "UserList"}:         {Module: "collections", Name: "UserList"},
		{Module: "UserString", Name: "UserString"}:     {Module: "collections", Name: "UserString"},
	}

	python2Modules = map[string]string{
		"__builtin__": "builtins", "exceptions": "builtins", "copy_reg": "copyreg",
		"Queue": "queue", "SocketServer": "socketserver", "ConfigParser": "configparser", "repr": "reprlib",
		"UserDict": "collections", "UserList": "collections", "UserString": "collections",
		"cPickle": "pickle", "StringIO": "io", "cStringIO": "io",
		"httplib": "http.client", "Cookie": "http.cookies", "cookielib": "http.cookiejar",
		"urlparse": "urllib.parse", "urllib2": "urllib.request", "HTMLParser": "html.parser",
		"xmlrpclib": "xmlrpc.client", "anydbm": "dbm", "whichdb": "dbm", "_socket": "socket",
	}
)

// constructors is every call that becomes a value, by module and name.
var constructors map[string]map[string]global

func init() {
	constructors = make(map[string]map[string]global)
	for c, call := range map[python.Class]constructor{
		{Module: "builtins", Name: "bytearray"}: makeBytes,
		{Module: "builtins", Name: "bytes"}:     makeBytes,
		{Module: "builtins", Name: "complex"}:   makeComplex,
		{Module: "builtins", Name: "dict"}:      makeDict,
		{Module: "builtins", Name: "frozenset"}: makeFrozen,
		{Module: "builtins", Name: "getattr"}:   makeAttribute,
		{Module: "builtins", Name: "set"}:       makeSet,

		{Module: "_codecs", Name: "encode"}:          makeEncoded,
		{Module: "collections", Name: "OrderedDict"}: makeDict,
		{Module: "collections", Name: "defaultdict"}: makeDefaultDict,
		{Module: "copyreg", Name: "_reconstructor"}:  makeReconstructed,
		{Module: "copyreg", Name: "__newobj__"}:      makeNewObj,
		{Module: "copyreg", Name: "__newobj_ex__"}:   makeNewObjEx,

		{Module: "datetime", Name: "date"}:      makeDate,
		{Module: "datetime", Name: "datetime"}:  makeDateTime,
		{Module: "datetime", Name: "time"}:      makeTime,
		{Module: "datetime", Name: "timedelta"}: makeTimedelta,
		{Module: "decimal", Name: "Decimal"}:    makeDecimal,
	} {
		if constructors[c.Module] == nil {
			constructors[c.Module] = make(map[string]global)
		}
		constructors[c.Module][c.Name] = global{name: c, call: call}
	}
}

// items returns the items of a collection.
func (m *machine) items(v value) ([]value, bool) {
	switch v.kind {
	case kindList, kindTuple, kindSet, kindFrozen:
		items := m.seqs[v.x]
		return items[:len(items):len(items)], true
	}
	return nil, false
}

// collection returns a constructor of a collection from none or one other.
func collection(k kind) constructor {
	return func(m *machine, args []value) (value, bool) {
		switch len(args) {
		case 0:
			return m.sequence(k, nil), true
		case 1:
			items, ok := m.items(args[0])
			if !ok {
				return value{}, false
			}
			return m.sequence(k, items), true
		}
		return value{}, false
	}
}

var (
	makeSet    = collection(kindSet)
	makeFrozen = collection(kindFrozen)
)

// makeDict understands dict() and OrderedDict(), whose entries follow, and
// their Python 2 form with a list of pairs.
func makeDict(m *machine, args []value) (value, bool) {
	switch len(args) {
	case 0:
		return m.sequence(kindDict, nil), true
	case 1:
		return m.dictOf(args[0])
	}
	return value{}, false
}

func (m *machine) dictOf(v value) (value, bool) {
	pairs, ok := m.items(v)
	if !ok || !m.spend(2*len(pairs)) {
		return value{}, false
	}
	flat := make([]value, 0, 2*len(pairs))
	for _, p := range pairs {
		pair, ok := m.items(p)
		if !ok || len(pair) != 2 {
			return value{}, false
		}
		flat = append(flat, pair...)
	}
	return m.sequence(kindDict, flat), true
}

// makeDefaultDict drops the factory.
func makeDefaultDict(m *machine, args []value) (value, bool) {
	if len(args) > 1 {
		return value{}, false
	}
	return m.sequence(kindDict, nil), true
}

// binary returns the bytes of v, whichever Python wrote them.
func (m *machine) binary(v value) ([]byte, bool) {
	switch v.kind {
	case kindBytes, kindText:
		return m.bytes(v), true
	case kindMade:
		switch b := m.made[v.x].(type) {
		case []byte:
			return b, true
		case string:
			return []byte(b), m.spend(len(b))
		}
	}
	return nil, false
}

// makeBytes understands bytes and bytearray of nothing, of bytes, and of text
// in Latin-1.
func makeBytes(m *machine, args []value) (value, bool) {
	switch {
	case len(args) == 0:
		return value{kind: kindBytes}, true
	case len(args) == 2:
		return makeEncoded(m, args)
	case len(args) > 2:
		return value{}, false
	}
	switch v := args[0]; v.kind {
	case kindBytes:
		return v, true
	case kindMade:
		_, ok := m.made[v.x].([]byte)
		return v, ok
	}
	items, ok := m.items(args[0])
	return value{kind: kindBytes}, ok && len(items) == 0
}

// makeEncoded understands text.encode("latin1"), which is how protocol 2
// holds bytes.
func makeEncoded(m *machine, args []value) (value, bool) {
	if len(args) != 2 || !m.spend(int(args[0].n)+int(args[1].n)) {
		return value{}, false
	}
	s, isText := m.text(args[0])
	encoding, named := m.text(args[1])
	if !isText || !named || encoding != "latin1" && encoding != "latin-1" {
		return value{}, false
	}
	b, ok := unlatin1(s)
	return m.keep(b), ok
}

func makeComplex(m *machine, args []value) (value, bool) {
	if len(args) != 2 || args[0].kind != kindFloat || args[1].kind != kindFloat {
		return value{}, false
	}
	re, im := math.Float64frombits(args[0].x), math.Float64frombits(args[1].x)
	return m.keep(complex(re, im)), true
}

func makeDecimal(m *machine, args []value) (value, bool) {
	if len(args) != 1 || !m.spend(int(args[0].n)) {
		return value{}, false
	}
	s, ok := m.text(args[0])
	if !ok || !isDecimal(s) {
		return value{}, false
	}
	return m.keep(python.Decimal(s)), true
}

// makeAttribute understands getattr(class, name) where it names a known
// function, as protocols below 4 write it.
func makeAttribute(m *machine, args []value) (value, bool) {
	if len(args) != 2 || args[0].kind != kindClass || args[1].kind != kindText {
		return value{}, false
	}
	cls := m.classes[args[0].x].name
	if cls.Name != "ZoneInfo" || string(m.bytes(args[1])) != "_unpickle" {
		return value{}, false
	}
	m.classes = append(m.classes, global{name: python.Class{Module: cls.Module, Name: "ZoneInfo._unpickle"}})
	return value{kind: kindClass, x: uint64(len(m.classes) - 1)}, true
}

// makeReconstructed understands copyreg._reconstructor(cls, base, state): the
// objects of protocols 0 and 1.
func makeReconstructed(m *machine, args []value) (value, bool) {
	if len(args) != 3 || args[0].kind != kindClass || args[1].kind != kindClass {
		return value{}, false
	}
	o := object{class: args[0], args: emptyTuple}
	if args[2].kind != kindNone {
		o.args = m.sequence(kindTuple, args[2:])
	}
	return m.instance(o), true
}

func makeNewObj(m *machine, args []value) (value, bool) {
	if len(args) == 0 || args[0].kind != kindClass {
		return value{}, false
	}
	return m.instance(object{class: args[0], args: m.sequence(kindTuple, args[1:])}), true
}

func makeNewObjEx(m *machine, args []value) (value, bool) {
	if len(args) != 3 || args[0].kind != kindClass || args[1].kind != kindTuple || args[2].kind != kindDict {
		return value{}, false
	}
	return m.instance(object{class: args[0], args: args[1], kwargs: args[2]}), true
}

// isDecimal reports whether s is what str(Decimal) returns.
func isDecimal(s string) bool {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		s = s[1:]
	}
	switch {
	case s == "Infinity":
		return true
	case hasPrefix(&s, "NaN"), hasPrefix(&s, "sNaN"):
		return countDigits([]byte(s)) == len(s)
	}
	return isNumber(s)
}

func hasPrefix(s *string, prefix string) bool {
	if len(*s) < len(prefix) || (*s)[:len(prefix)] != prefix {
		return false
	}
	*s = (*s)[len(prefix):]
	return true
}

// isNumber reports whether s is digits with at most one point and perhaps an
// exponent.
func isNumber(s string) bool {
	whole := countDigits([]byte(s))
	s = s[whole:]
	fraction := 0
	if hasPrefix(&s, ".") {
		fraction = countDigits([]byte(s))
		s = s[fraction:]
	}
	if whole+fraction == 0 {
		return false
	}
	if hasPrefix(&s, "E") || hasPrefix(&s, "e") {
		return isInteger([]byte(s))
	}
	return s == ""
}
