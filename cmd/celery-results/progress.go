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
	bar   *progressbar.ProgressBar // nil without a terminal
	drawn time.Time
}

// drawEvery is how often progress is drawn.
const drawEvery = 100 * time.Millisecond

func (c *cli) newProgress(name string) *progress {
	if !isTerminal(c.stderr) {
		return &progress{}
	}
	return newProgress(c.stderr, name)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) //nolint:gosec // a descriptor is a small number
}

// newProgress makes a line that is drawn when show is called, by no goroutine
// of its own. How much there is to do is not known yet.
func newProgress(w io.Writer, name string) *progress {
	return &progress{bar: progressbar.NewOptions64(-1,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(escape(name)),
		progressbar.OptionShowCount(),
		progressbar.OptionShowTotalBytes(false),
		progressbar.OptionSetSpinnerChangeInterval(0),
		progressbar.OptionUseANSICodes(true),
	)}
}

// show draws what was done until now. The number of rows that are due is an
// estimate: once it is passed it grows, as the bar must not end before the work.
func (p *progress) show(r dbbackend.CleanupReport) {
	if p.bar == nil || time.Since(p.drawn) < drawEvery {
		return
	}
	p.drawn = time.Now()
	if most := r.Due; most > 0 {
		if most <= r.Looked {
			most = r.Looked + r.Looked/10 + 1
		}
		p.bar.ChangeMax64(most)
	}
	_ = p.bar.Set64(r.Looked) // it may fail to draw
}

// count draws how many were done, of a number that nobody knows.
func (p *progress) count(done int64) { p.show(dbbackend.CleanupReport{Looked: done}) }

// bytes draws how much of a file was read.
func (p *progress) bytes(read, size int64) {
	if p.bar == nil || time.Since(p.drawn) < drawEvery && read < size {
		return
	}
	p.drawn = time.Now()
	p.bar.ChangeMax64(size)
	_ = p.bar.Set64(min(read, size)) // it may fail to draw
}

// clear takes the line away.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
		_ = p.bar.Exit()
	}
}
