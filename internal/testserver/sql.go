package testserver

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

const statementTimeout = 15 * time.Second

// StartPostgres starts a PostgreSQL server for this test alone and stops it
// when the test ends. The settings, as in "max_connections=20", follow ours
// and win over them. Its URL names an empty database.
//
// Stop is an immediate shutdown. What was committed in the last second may be
// gone after Restart, unless the settings say otherwise:
//
//	StartPostgres(t, "fsync=on", "synchronous_commit=on", "full_page_writes=on")
//
// Without the program the test is
// skipped as with Postgres.
func StartPostgres(t testing.TB, settings ...string) *Server {
	t.Helper()
	return private(t, postgresService, func() (*Server, error) { return startPostgres(settings) })
}

// StartMySQL starts a MariaDB or MySQL server for this test alone and stops it
// when the test ends. The arguments, as in "--max-connections=20", follow ours
// and win over them; "{port}" in them is the server's port. Its URL names an
// empty database, and its account may do everything.
//
// Stop kills it. What was committed in the last second may be gone after
// Restart, unless the arguments say otherwise:
//
//	StartMySQL(t, "--innodb-flush-log-at-trx-commit=1", "--innodb-doublewrite=1")
//
// Without the program the test is
// skipped as with MySQL.
func StartMySQL(t testing.TB, args ...string) *Server {
	t.Helper()
	return private(t, mysqlService, func() (*Server, error) { return startMySQL(args) })
}

func startSharedPostgres() (*Server, error) { return startPostgres(nil) }

func startSharedMySQL() (*Server, error) { return startMySQL(nil) }

func startPostgres(settings []string) (*Server, error) {
	path, err := find([]string{"/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin"}, "postgres")
	if err != nil {
		return nil, err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil { // initdb stands beside it
		return nil, fmt.Errorf("testserver: %w", err)
	}
	account, err := unprivileged("postgres", "nobody")
	if err != nil {
		return nil, err
	}
	return startServer(func(port string) (program, error) {
		dir, err := newFolder(account)
		if err != nil {
			return program{}, err
		}
		addr := net.JoinHostPort("127.0.0.1", port)
		p := program{path: path, dir: dir, addr: addr, url: postgresURL(addr), account: account,
			args: postgresArgs(port, settings), stop: syscall.SIGQUIT}
		p.probe = func(string) error { return execPostgres(p.url, "select 1") }
		return initialised(p, filepath.Join(filepath.Dir(path), "initdb"), "--pgdata=data", "--username=postgres",
			"--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	})
}

func postgresURL(addr string) string {
	return "postgres://postgres@" + addr + "/postgres?sslmode=disable"
}

func postgresArgs(port string, settings []string) []string {
	args := []string{"-D", "data", "-p", port}
	for _, setting := range append([]string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300",
		"fsync=off", "synchronous_commit=off", "full_page_writes=off",
	}, settings...) {
		args = append(args, "-c", setting)
	}
	return args
}

func startMySQL(args []string) (*Server, error) {
	path, err := find([]string{"/usr/sbin", "/usr/local/sbin", "/usr/libexec"}, "mariadbd", "mysqld")
	if err != nil {
		return nil, err
	}
	account, err := unprivileged("mysql", "nobody")
	if err != nil {
		return nil, err
	}
	return startServer(func(port string) (program, error) {
		dir, err := newFolder(account)
		if err != nil {
			return program{}, err
		}
		addr := net.JoinHostPort("127.0.0.1", port)
		p := program{path: path, dir: dir, addr: addr, url: mysqlURL(addr), account: account,
			args: withPort(mysqlArgs(dir, port), args, port), stop: syscall.SIGKILL}
		p.probe = func(string) error { return execMySQL(p.url, "select 1") }
		return initialiseMySQL(p)
	})
}

// mysqlInit runs at every start. The account may do everything, from any
// address.
const mysqlInit = `create user if not exists 'celery'@'%' identified by 'celery';
grant all privileges on *.* to 'celery'@'%';
create database if not exists celery;
`

func mysqlURL(addr string) string { return "mysql://celery:celery@" + addr + "/celery" }

func mysqlArgs(dir, port string) []string {
	return []string{
		"--no-defaults", "--datadir=" + filepath.Join(dir, "data"), "--init-file=" + filepath.Join(dir, "init.sql"),
		"--bind-address=127.0.0.1", "--port=" + port, "--socket=mysql.sock", "--pid-file=mysql.pid",
		"--tmpdir=" + dir, // a server that starts deletes what others have in /tmp
		"--skip-name-resolve", "--skip-log-bin", "--character-set-server=utf8mb4", "--max-connections=300",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-log-file-size=32M",
		"--loose-mysqlx=OFF",
	}
}

func initialiseMySQL(p program) (program, error) {
	if err := writeAs(p.account, filepath.Join(p.dir, "init.sql"), mysqlInit); err != nil {
		return program{}, fmt.Errorf("testserver: %w", err)
	}
	data := "--datadir=" + filepath.Join(p.dir, "data")
	if installer, err := exec.LookPath("mariadb-install-db"); err == nil {
		return initialised(p, installer, "--no-defaults", data, "--auth-root-authentication-method=normal",
			"--skip-test-db", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=32M")
	}
	return initialised(p, p.path, "--no-defaults", data, "--initialize-insecure")
}

// initialised describes a server whose data folder the command has made.
func initialised(p program, command string, args ...string) (program, error) {
	output, err := p.command(command, args...).CombinedOutput()
	if err != nil {
		removeFolder(p.dir)
		return program{}, fmt.Errorf("testserver: %s: %w: %s", command, err, output)
	}
	return p, nil
}

func execPostgres(address, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

func execMySQL(address, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("not a mysql:// URL")
	}
	config := mysql.NewConfig()
	config.Net, config.Addr = "tcp", u.Host
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	_, err = db.ExecContext(ctx, statement)
	return err
}

// freshDatabase creates a database beside the one at the address and returns
// its URL. Its name is new on every call, so a shared server stays usable.
func freshDatabase(t testing.TB, address string, execute func(address, statement string) error, create, drop string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal("testserver: the server's address is not a URL")
	}
	name := "celeryresults_test_" + strings.ToLower(rand.Text())
	if err := execute(address, fmt.Sprintf(create, name)); err != nil {
		t.Fatalf("testserver: create a database: %v", err)
	}
	t.Cleanup(func() {
		if err := execute(address, fmt.Sprintf(drop, name)); err != nil {
			t.Errorf("testserver: drop a database: %v", err)
		}
	})
	u.Path = "/" + name
	return u.String()
}
