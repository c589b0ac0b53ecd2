package main

import (
	"github.com/celeryresults/celeryresults"
)

// The colours of states, of the 16 that terminals let people choose. All sequences are as
// long as one another, so that they do not upset columns.
const (
	green  = "\x1b[32m"
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	blue   = "\x1b[34m"
	plain  = "\x1b[39m"
)

// coloured reports whether standard output is a terminal of somebody who wants colours:
// https://no-color.org.
func (c *cli) coloured() bool {
	return c.getenv("NO_COLOR") == "" && c.getenv("TERM") != "dumb" && isTerminal(c.stdout)
}

// state returns a state for people, coloured where that is wanted. Its name says the same.
func (c *cli) state(s celeryresults.State) string {
	text := escape(string(s))
	if !c.colours {
		return text
	}
	colour := plain
	switch {
	case s == celeryresults.Success:
		colour = green
	case s == celeryresults.Failure, s == celeryresults.Revoked, s == celeryresults.Rejected:
		colour = red
	case s == celeryresults.Retry:
		colour = yellow
	case s == celeryresults.Started:
		colour = blue
	}
	return colour + text + plain
}
