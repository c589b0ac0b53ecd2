package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rivo/uniseg"
	"golang.org/x/term"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/python"
)

// liveTable shows on a terminal what tasks are doing: a line for each, which changes in
// place, and one for all of them.
type liveTable struct {
	w       io.Writer
	size    func() (width, height int)
	state   func(celeryresults.State) string
	began   time.Time
	ids     []string
	current map[string]*celeryresults.TaskMeta
	drawn   int // lines
}

// newLiveTable returns a table, or nil where standard output is no terminal, is used by a
// program, or is too small for all tasks.
func (c *cli) newLiveTable(ids []string) *liveTable {
	f, ok := c.stdout.(*os.File)
	if !ok || c.format != formatTable || !isTerminal(f) || c.getenv("TERM") == "dumb" {
		return nil
	}
	size := func() (int, int) {
		width, height, err := term.GetSize(int(f.Fd())) //nolint:gosec // a descriptor is a small number
		if err != nil || width <= 0 || height <= 0 {
			return 80, 24
		}
		return width, height
	}
	var once []string
	for _, id := range ids {
		if !slices.Contains(once, id) {
			once = append(once, id)
		}
	}
	if _, height := size(); len(once)+2 > height {
		return nil
	}
	return &liveTable{w: f, size: size, state: c.state, began: time.Now(), ids: once, current: map[string]*celeryresults.TaskMeta{}}
}

// draw writes all lines over the ones before.
func (t *liveTable) draw(now time.Time) error {
	var b bytes.Buffer
	if t.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r", t.drawn)
	}
	width, _ := t.size()
	longestState, longestID := 0, 0
	for _, id := range t.ids {
		longestState = max(longestState, uniseg.StringWidth(escape(string(t.stateOf(id)))))
		longestID = max(longestID, uniseg.StringWidth(escape(id)))
	}
	ready, failed := 0, 0
	for _, id := range t.ids {
		state := t.stateOf(id)
		if state.Ready() {
			ready++
			if state != celeryresults.Success {
				failed++
			}
		}
		pad := strings.Repeat(" ", longestState-uniseg.StringWidth(escape(string(state))))
		rest := fmt.Sprintf("  %s%s  %6s  %s", escape(id), strings.Repeat(" ", longestID-uniseg.StringWidth(escape(id))), t.took(id, now), t.text(id))
		fmt.Fprintf(&b, "\x1b[2K%s%s%s\n", t.state(state), pad, clip(rest, width-longestState-1))
	}
	summary := fmt.Sprintf("%d of %d ready, %d failed, %s", ready, len(t.ids), failed, now.Sub(t.began).Round(time.Second))
	fmt.Fprintf(&b, "\x1b[2K%s\n", clip(summary, width-1))
	t.drawn = len(t.ids) + 1
	_, err := t.w.Write(b.Bytes())
	return err
}

func (t *liveTable) stateOf(id string) celeryresults.State {
	if meta := t.current[id]; meta != nil {
		return meta.State
	}
	return celeryresults.Pending
}

// took is how long a task ran, or how long it has been running or watched.
func (t *liveTable) took(id string, now time.Time) string {
	meta := t.current[id]
	if meta != nil {
		if d, ok := meta.ProcessingTime(); ok {
			return short(d)
		}
		if meta.State.Ready() {
			return ""
		}
		if !meta.DateStarted.IsZero() {
			return short(now.Sub(meta.DateStarted))
		}
	}
	return short(now.Sub(t.began))
}

func short(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func (t *liveTable) text(id string) string {
	meta := t.current[id]
	if meta == nil {
		return ""
	}
	return brief(meta)
}

// brief is a result, a failure or a progress in a line.
func brief(meta *celeryresults.TaskMeta) string {
	if err := meta.Err(); meta.State.Exception() && err != nil {
		return escape(err.Error())
	}
	tree, err := meta.Result.Any()
	if err != nil || tree == nil {
		return ""
	}
	if bar := progressBar(tree); bar != "" && !meta.State.Ready() {
		return bar
	}
	return escape(python.Repr(tree, briefly))
}

// barWidth is how long a bar is, in characters.
const barWidth = 20

// progressBar draws what Celery's guide has tasks report: {"current": 40, "total": 100}.
func progressBar(tree any) string {
	fields := map[string]float64{}
	pairs, _ := python.Pairs(tree)
	for _, pair := range pairs {
		name, _ := pair.Key.(string)
		switch n := pair.Value.(type) {
		case int64:
			fields[name] = float64(n)
		case float64:
			fields[name] = n
		}
	}
	current, total := fields["current"], fields["total"]
	if !(total > 0) || !(current >= 0) {
		return ""
	}
	full := int(barWidth * min(current/total, 1))
	return fmt.Sprintf("[%s%s] %g of %g", strings.Repeat("#", full), strings.Repeat(" ", barWidth-full), current, total)
}

// clip shortens a text to a width in columns.
func clip(text string, width int) string {
	if uniseg.StringWidth(text) <= width {
		return text
	}
	var b strings.Builder
	used := 0
	for g := uniseg.NewGraphemes(text); g.Next(); {
		if used += g.Width(); used > width-1 {
			break
		}
		b.WriteString(g.Str())
	}
	return b.String() + "…"
}
