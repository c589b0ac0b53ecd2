package sqldialect

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults/cache"
)

const (
	// serverConnections is how many connections Open allows to a server:
	// more gain nothing, and PostgreSQL gives out 100 to everybody together.
	serverConnections = 16

	// idleTime is how long a connection to a server is kept unused.
	idleTime = 5 * time.Minute
)

// ForDriver returns the dialect of an open database, which it knows by the name
// of its driver's type. Wrapped drivers may hide that: then name the dialect
// with [ForEngine].
func ForDriver(db *sql.DB) (*Dialect, error) {
	name := strings.ToLower(fmt.Sprintf("%T", db.Driver()))
	for _, known := range []struct {
		part    string
		dialect *Dialect
	}{
		{"sqlite", SQLite},
		{"mysql", MySQL}, {"mariadb", MySQL},
		{"stdlib.", PostgreSQL}, {"pgx", PostgreSQL}, {"pq.", PostgreSQL}, {"postgres", PostgreSQL},
	} {
		if strings.Contains(name, known.part) {
			return known.dialect, nil
		}
	}
	return nil, fmt.Errorf("sqldialect: unknown driver %T: name the engine: postgresql, mysql or sqlite", db.Driver())
}

// ForEngine returns the dialect for an ENGINE of Django's DATABASES, dotted or
// short.
func ForEngine(engine string) (*Dialect, error) {
	name, _ := cache.DatabaseEngine(engine)
	if d, ok := byName(name); ok {
		return d, nil
	}
	return nil, fmt.Errorf("sqldialect: unknown database engine %q: use postgresql, mysql or sqlite3", engine)
}

// Open opens a database from an entry of Django's DATABASES, or its URL, with
// the drivers pgx, mysql or sqlite (modernc.org's), and limits its pool: 16
// connections to a server, one to SQLite, where a second writer would only
// wait. SQLite's files get a write-ahead log, and their locks are to be waited
// for with [Retry]. Open does not connect yet.
//
// It returns an error for an unknown engine or option, and one that names the
// import to add when the driver is not linked. No error shows the password.
func Open(database cache.Database) (*sql.DB, *Dialect, error) {
	database, err := expand(database)
	if err != nil {
		return nil, nil, err
	}
	d, err := ForEngine(database.Engine)
	if err != nil {
		return nil, nil, err
	}
	link := links[d]
	source, err := link.source(database)
	if err != nil {
		return nil, nil, fmt.Errorf("sqldialect: %s: %w", d.name, err)
	}
	if !slices.Contains(sql.Drivers(), link.driver) {
		return nil, nil, fmt.Errorf("sqldialect: no driver for %s in this program: add import _ %q", d.name, link.path)
	}
	db, err := sql.Open(link.driver, source)
	if err != nil {
		return nil, nil, fmt.Errorf("sqldialect: %s: the driver %s refuses the settings", d.name, link.driver)
	}
	limit(db, d)
	return db, d, nil
}

// limit bounds the pool. SQLite's connection stays open for good, as a
// database in memory is gone with it.
func limit(db *sql.DB, d *Dialect) {
	if d == SQLite {
		db.SetMaxOpenConns(1)
		return
	}
	LimitPool(db, serverConnections)
}

// LimitPool bounds the connections to a server and keeps all of them between
// uses, for five minutes.
func LimitPool(db *sql.DB, connections int) {
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(idleTime)
}

// InMemory reports whether a database is one of SQLite in memory, of which each
// connection has its own.
func InMemory(database cache.Database) bool {
	expanded, err := expand(database)
	if err != nil {
		return false
	}
	d, err := ForEngine(expanded.Engine)
	return err == nil && d == SQLite && strings.Contains(expanded.Name, ":memory:")
}

// links says which driver serves a dialect and how to write its data source.
var links = map[*Dialect]struct {
	driver, path string
	source       func(cache.Database) (string, error)
}{
	PostgreSQL: {"pgx", "github.com/jackc/pgx/v5/stdlib", postgresSource},
	MySQL:      {"mysql", "github.com/go-sql-driver/mysql", mysqlSource},
	SQLite:     {"sqlite", "modernc.org/sqlite", sqliteSource},
}

// expand replaces a URL by what it says. Its scheme may carry Celery's "db+"
// and SQLAlchemy's "+driver".
func expand(database cache.Database) (cache.Database, error) {
	if database.URL == "" {
		return database, nil
	}
	u, query, err := parseURL(database.URL)
	if err != nil {
		return cache.Database{}, err
	}
	engine, _, _ := strings.Cut(strings.TrimPrefix(u.Scheme, "db+"), "+")
	password, _ := u.User.Password()
	expanded := cache.Database{
		Engine: engine, Name: strings.TrimPrefix(u.Path, "/"),
		User: u.User.Username(), Password: password, Host: u.Hostname(), Port: u.Port(),
		Options: maps.Clone(database.Options),
	}
	if expanded.Host == "" {
		expanded.Host = query.Get("host")
	}
	if expanded.Name == "" && strings.HasPrefix(engine, "sqlite") {
		expanded.Name = ":memory:"
	}
	return expanded, addOptions(&expanded, query)
}

// parseURL parses a URL and its query. Its error does not show the URL.
func parseURL(text string) (*url.URL, url.Values, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, nil, errMalformed
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, nil, errMalformed
	}
	return u, query, nil
}

func addOptions(database *cache.Database, query url.Values) error {
	if database.Options == nil {
		database.Options = map[string]string{}
	}
	for name, values := range query {
		if len(values) > 1 {
			return fmt.Errorf("sqldialect: the URL names %q more than once", name)
		}
		if name != "host" {
			database.Options[name] = values[0]
		}
	}
	return nil
}

// postgresOptions are passed on as they are.
var postgresOptions = []string{
	"application_name", "connect_timeout", "default_query_exec_mode", "default_transaction_isolation", "description_cache_capacity", "krbsrvname", "lock_timeout", "options",
	"passfile", "search_path", "service", "servicefile", "sslcert", "sslkey", "sslmode", "sslpassword",
	"sslrootcert", "statement_cache_capacity", "statement_timeout", "target_session_attrs", "timezone",
}

func postgresSource(database cache.Database) (string, error) {
	parameters := url.Values{}
	for name, value := range database.Options {
		if !slices.Contains(postgresOptions, name) {
			return "", unknownOption(name, postgresOptions)
		}
		parameters.Set(name, value)
	}
	if database.Name == "" && database.Options["service"] == "" {
		return "", errNoName
	}
	source := url.URL{Scheme: "postgres", Path: "/" + database.Name, User: userinfo(database)}
	if strings.HasPrefix(database.Host, "/") {
		parameters.Set("host", database.Host)
		setUnless(parameters, "port", database.Port)
	} else {
		source.Host = address(database.Host, database.Port)
	}
	source.RawQuery = strings.ReplaceAll(parameters.Encode(), "+", "%20") // pgx keeps a plus sign as it is
	return source.String(), nil
}

// mysqlOptions maps the options of Python's client to the driver's. Those
// without a parameter need none: unix_socket is the address, text is always
// utf8mb4, and no statement depends on the isolation level.
var mysqlOptions = map[string]struct {
	parameter string
	value     func(string) (string, bool)
}{
	"connect_timeout": {"timeout", seconds},
	"read_timeout":    {"readTimeout", seconds},
	"write_timeout":   {"writeTimeout", seconds},
	"ssl_mode":        {"tls", sslMode},
	"tls":             {"tls", verbatim},
	"sql_mode":        {"sql_mode", quoted},
	"charset":         {},
	"isolation_level": {},
	"unix_socket":     {},
}

func seconds(value string) (string, bool) {
	d, err := time.ParseDuration(value + "s")
	return d.String(), err == nil
}

func verbatim(value string) (string, bool) { return value, true }

func quoted(value string) (string, bool) {
	return "'" + value + "'", !strings.ContainsAny(value, `'\`)
}

func sslMode(value string) (string, bool) {
	mode, ok := map[string]string{
		"DISABLED": "false", "PREFERRED": "preferred", "REQUIRED": "skip-verify", "VERIFY_IDENTITY": "true",
	}[strings.ToUpper(value)]
	return mode, ok
}

// mysqlSource writes user:password@net(address)/name?parameters. The driver
// wants clientFoundRows so that writing the same value again counts as a row, and
// maxAllowedPacket=0 to ask the server for its limit: a server that gets more just
// hangs up.
func mysqlSource(database cache.Database) (string, error) {
	switch {
	case database.Name == "":
		return "", errNoName
	case strings.Contains(database.User, ":"):
		return "", errors.New("the driver takes no user name with a colon")
	}
	parameters := url.Values{
		"parseTime": {"true"}, "loc": {"UTC"}, "clientFoundRows": {"true"}, "interpolateParams": {"true"},
		"charset": {"utf8mb4"}, "maxAllowedPacket": {"0"},
		"sql_mode": {"CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')"}, // nothing is to be cut silently
	}
	if err := addMySQLOptions(parameters, database.Options); err != nil {
		return "", err
	}
	return database.User + ":" + database.Password + "@" + mysqlAddress(database) + "/" +
		url.PathEscape(database.Name) + "?" + parameters.Encode(), nil
}

func addMySQLOptions(parameters url.Values, options map[string]string) error {
	for name, value := range options {
		option, ok := mysqlOptions[name]
		if !ok {
			return unknownOption(name, slices.Sorted(maps.Keys(mysqlOptions)))
		}
		if option.parameter == "" {
			continue
		}
		translated, ok := option.value(value)
		if !ok {
			return fmt.Errorf("option %s: bad value", name)
		}
		parameters.Set(option.parameter, translated)
	}
	return nil
}

func mysqlAddress(database cache.Database) string {
	socket := database.Options["unix_socket"]
	if strings.HasPrefix(database.Host, "/") {
		socket = database.Host
	}
	if socket != "" {
		return "unix(" + socket + ")"
	}
	port := database.Port
	if port == "" {
		port = "3306"
	}
	host := database.Host
	if host == "" {
		host = "127.0.0.1"
	}
	return "tcp(" + address(host, port) + ")"
}

// lockTimeout is how long SQLite itself waits for another connection's lock.
// No context ends that wait, so it is short: Retry goes on.
const lockTimeout = 20 * time.Millisecond

// sqliteOption is Django's option for another lockTimeout, in seconds.
const sqliteOption = "timeout"

func sqliteSource(database cache.Database) (string, error) {
	wait := lockTimeout
	for name, value := range database.Options {
		if name != sqliteOption {
			return "", unknownOption(name, []string{sqliteOption})
		}
		var err error
		if wait, err = time.ParseDuration(value + "s"); err != nil || wait < 0 {
			return "", errors.New("option timeout: not a number of seconds")
		}
	}
	switch database.Name {
	case "":
		return "", errNoName
	case ":memory:":
		return database.Name, nil
	}
	parameters := url.Values{
		"_pragma": {
			fmt.Sprintf("busy_timeout(%d)", wait.Milliseconds()), // first, as the next needs a lock
			"journal_mode(WAL)", "synchronous(NORMAL)",
		},
		"_txlock": {"immediate"},
	}
	return "file:" + (&url.URL{Path: database.Name}).EscapedPath() + "?" + parameters.Encode(), nil
}

var (
	errNoName    = errors.New("NAME is missing")
	errMalformed = errors.New("sqldialect: the database's URL is malformed")
)

func unknownOption(name string, known []string) error {
	return fmt.Errorf("unknown option %q: there are %s", name, strings.Join(known, ", "))
}

// userinfo is nil without a user: the driver then takes its default.
func userinfo(database cache.Database) *url.Userinfo {
	switch {
	case database.Password != "":
		return url.UserPassword(database.User, database.Password)
	case database.User != "":
		return url.User(database.User)
	}
	return nil
}

func setUnless(parameters url.Values, name, value string) {
	if value != "" {
		parameters.Set(name, value)
	}
}

func address(host, port string) string {
	if port == "" && strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	if port == "" {
		return host
	}
	return net.JoinHostPort(host, port)
}
