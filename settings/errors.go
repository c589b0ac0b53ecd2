package settings

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/celeryresults/celeryresults"
)

// wrong is the error for a setting.
func wrong(name, reason string, args ...any) error {
	return &celeryresults.SettingsError{Name: printable(name), Reason: fmt.Sprintf(reason, args...)}
}

// wrongFile is the error for a file, whose path is shown whole.
func wrongFile(path, reason string, args ...any) error {
	return &celeryresults.SettingsError{Name: oneLine(path), Reason: fmt.Sprintf(reason, args...)}
}

// under places an error about a value, or about a part of it, under its name.
// origin is added to the reason.
func under(name string, err error, origin string) error {
	var part *celeryresults.SettingsError
	if errors.As(err, &part) {
		return &celeryresults.SettingsError{Name: printable(name) + "." + part.Name, Reason: part.Reason + origin}
	}
	return wrong(name, "%s", err.Error()+origin)
}

// printable keeps endless names out of messages.
func printable(name string) string {
	if len(name) > maxName {
		name = name[:maxName] + "…"
	}
	return oneLine(name)
}

// oneLine keeps line breaks and control characters out of messages.
func oneLine(s string) string {
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return strconv.QuoteToASCII(s)
		}
	}
	return s
}
