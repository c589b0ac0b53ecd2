// Package mask hides the passwords in URLs that people are shown.
package mask

import (
	"regexp"
	"slices"
	"strings"
)

// urlStart finds where another URL begins in a list of them.
var urlStart = regexp.MustCompile(`[;,]\s*[A-Za-z][A-Za-z0-9+.-]*://`)

// URL returns the URL with every password in it replaced by **, as Celery
// prints URLs: in the user information of each of several URLs divided by ; or
// a comma, and in every query parameter that is not known to be harmless.
func URL(url string) string {
	var masked strings.Builder
	for {
		next := urlStart.FindStringIndex(url)
		if next == nil {
			break
		}
		masked.WriteString(maskOne(url[:next[0]]))
		masked.WriteByte(url[next[0]])
		url = url[next[0]+1:]
	}
	masked.WriteString(maskOne(url))
	return masked.String()
}

// maskOne masks a single URL, or text that has no scheme.
func maskOne(url string) string {
	start := 0
	if i := strings.Index(url, "://"); i >= 0 {
		start = i + len("://")
	}
	// A password may hold any of / ? ; , and @ when it was not escaped: the
	// last @ ends it.
	if at := strings.LastIndex(url, "@"); at >= start {
		if user, _, ok := strings.Cut(url[start:at], ":"); ok {
			return url[:start] + user + ":**" + maskQuery(url[at:])
		}
	}
	return maskQuery(url)
}

// harmless are the query parameters whose values are shown.
var harmless = []string{
	"application_name", "charset", "client_encoding", "db", "health_check_interval", "max_connections", "protocol",
	"socket_connect_timeout", "socket_keepalive", "socket_timeout", "ssl_cert_reqs", "ssl_check_hostname", "sslmode",
	"timeout", "virtual_host",
}

func maskQuery(url string) string {
	path, query, ok := strings.Cut(url, "?")
	if !ok {
		return url
	}
	params := strings.Split(query, "&")
	for i, param := range params {
		if name, _, ok := strings.Cut(param, "="); ok && !slices.Contains(harmless, strings.ToLower(name)) {
			params[i] = name + "=**"
		}
	}
	return path + "?" + strings.Join(params, "&")
}
