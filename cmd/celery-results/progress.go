package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/celeryresults/celeryresults/backends/dbbackend"
)

// progress shows on a terminal how far a clean-up is. Without a terminal it
// shows nothing.
type progress struct {
	bar *progressbar.ProgressBar // nil without a terminal
}

func (c *cli) newProgress(name string) progress {
	if !isTerminal(c.stderr) {
		return progress{}
	}
	return newProgress(c.stderr, name)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) //nolint:gosec // a descriptor is a small number
}

// newProgress makes a line that is drawn when show is called, by no goroutine
// of its own. How much there is to do is not known yet.
func newProgress(w io.Writer, name string) progress {
	return progress{progressbar.NewOptions64(-1,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(escape(name)),
		progressbar.OptionShowCount(),
		progressbar.OptionSetItsString("rows"),
		progressbar.OptionShowIts(),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetSpinnerChangeInterval(0),
		progressbar.OptionUseANSICodes(true),
	)}
}

// show draws what was done until now. The number of rows that are due is an
// estimate, and the bar does not end before the work does.
func (p progress) show(r dbbackend.CleanupReport) {
	if p.bar == nil {
		return
	}
	if r.Due > 0 {
		if most := max(r.Due, r.Looked+1); most != p.bar.GetMax64() {
			p.bar.ChangeMax64(most)
		}
	}
	_ = p.bar.Set64(r.Looked) // it may fail to draw
}

// clear takes the line away.
func (p progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
		_ = p.bar.Exit()
	}
}
