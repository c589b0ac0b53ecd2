package redisclient

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Config is a server's description on its way to the options of a client.
type Config struct {
	Options *redis.Options
	TLS     TLS
}

// ErrUnknown is returned by Set for a parameter that redis-py does not have.
var ErrUnknown = errors.New("unknown parameter")

// Set applies a parameter of redis-py's from_url. Its errors do not quote a value
// that is a secret.
func (c *Config) Set(name, value string) error {
	apply, known := parameters[name]
	if !known {
		return ErrUnknown
	}
	if err := apply(c, value); err != nil {
		return fmt.Errorf("parameter %s: %w", name, err)
	}
	return nil
}

// Names returns the parameters that Set knows, sorted.
func Names() []string { return slices.Sorted(maps.Keys(parameters)) }

// Nearest returns the parameter whose name is most like an unknown one.
func Nearest(name string) string { return nearest(name, parameters) }

// Database sets the number of the database.
func (c *Config) Database(text string) error {
	number, err := strconv.Atoi(text)
	if err != nil || number < 0 {
		return fmt.Errorf("bad database %q: want a number", text)
	}
	c.Options.DB = number
	return nil
}

// parameters are those of redis-py's from_url.
var parameters = map[string]func(*Config, string) error{
	"db":           (*Config).Database,
	"virtual_host": (*Config).Database, // Celery's name for it, in redis+socket
	"username":     func(c *Config, v string) error { c.Options.Username = v; return nil },
	"password":     func(c *Config, v string) error { c.Options.Password = v; return nil },
	"client_name":  func(c *Config, v string) error { c.Options.ClientName = v; return nil },

	"socket_timeout":         (*Config).socketTimeout,
	"socket_connect_timeout": seconds(func(c *Config, d time.Duration) { c.Options.DialTimeout = d }),
	"max_connections":        number(1, 1<<20, func(c *Config, n int) { c.Options.PoolSize = n }),
	"protocol":               number(2, 3, func(c *Config, n int) { c.Options.Protocol = n }),

	"ssl_cert_reqs":      (*Config).certReqs,
	"ssl_check_hostname": (*Config).checkHostname,
	"ssl_ca_certs":       file(func(c *Config, v string) { c.TLS.CA = v }),
	"ssl_certfile":       file(func(c *Config, v string) { c.TLS.Cert = v }),
	"ssl_keyfile":        file(func(c *Config, v string) { c.TLS.Key = v }),

	// What these are for does not arise here: values are bytes, go-redis
	// checks idle connections by itself, the store repeats what may be
	// repeated, a wait for a connection ends with its context, and Go keeps
	// sockets alive.
	"decode_responses":         ignore,
	"encoding":                 ignore,
	"encoding_errors":          ignore,
	"health_check_interval":    ignore,
	"retry_on_timeout":         ignore,
	"retry_on_error":           ignore,
	"socket_keepalive":         ignore,
	"socket_read_size":         ignore,
	"socket_type":              ignore,
	"timeout":                  ignore,
	"single_connection_client": ignore,
	"lib_name":                 ignore,
	"lib_version":              ignore,
}

func ignore(*Config, string) error { return nil }

func (c *Config) socketTimeout(text string) error {
	return seconds(func(c *Config, d time.Duration) {
		c.Options.ReadTimeout, c.Options.WriteTimeout = d, d
	})(c, text)
}

// maxSeconds keeps a timeout within what a time.Duration holds.
const maxSeconds = 1e9

// seconds is a parameter in seconds, with a fraction or not.
func seconds(set func(*Config, time.Duration)) func(*Config, string) error {
	return func(c *Config, text string) error {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n > 0 && n <= maxSeconds) {
			return fmt.Errorf("%q is not a number of seconds above 0", text)
		}
		set(c, max(time.Duration(n*float64(time.Second)), 1))
		return nil
	}
}

// number is a parameter between least and most.
func number(least, most int, set func(*Config, int)) func(*Config, string) error {
	return func(c *Config, text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return fmt.Errorf("%q is not a number from %d to %d", text, least, most)
		}
		set(c, n)
		return nil
	}
}
