package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/internal/doctor"
	"github.com/celeryresults/celeryresults/python"
	"github.com/celeryresults/celeryresults/settings"
)

const (
	checkPatience = 15 * time.Second // for all operations on one backend
	probeExpires  = time.Minute
)

// exporter prints the settings of a Python project.
//
//go:embed export_settings.py
var exporter string

func (c *cli) checkCommand() *cobra.Command {
	var against string
	var export bool
	cmd := &cobra.Command{
		Use: "check", Short: "Describe every backend and try it", Long: checkHelp, Example: checkExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, "takes no arguments; --backend NAME limits it to one backend")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if export {
				_, err := io.WriteString(c.stdout, exporter)
				return err
			}
			return c.check(cmd.Context(), against)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&against, "against", "", "a `file` with the settings of a Python project, to compare with")
	flags.BoolVar(&export, "export-script", false, "print the Python script that writes such a file, and do nothing else")
	return cmd
}

// readPython reads what the export script has written.
func readPython(file string) (*doctor.Python, error) {
	if file == "" {
		return nil, nil
	}
	m, err := settings.Load(file)
	if err != nil {
		return nil, withStatus(statusUsage, err)
	}
	var p doctor.Python
	if versions, ok := m["VERSIONS"].(map[string]any); ok {
		p.Celery, _ = versions["celery"].(string)
	}
	delete(m, "VERSIONS")
	if p.Settings, err = settings.FromMap(m); err != nil {
		return nil, withStatus(statusUsage, fmt.Errorf("--against %s: these settings of Python can't be followed: %w", file, err))
	}
	return &p, nil
}

func (c *cli) check(ctx context.Context, against string) error {
	s, err := c.readSettings()
	if err != nil {
		return err
	}
	if c.python, err = readPython(against); err != nil {
		return err
	}
	list, err := describe(s, c.backend)
	if err != nil {
		return err
	}
	tried := 0
	for _, d := range list {
		n, err := c.checkOne(ctx, s, d)
		if err != nil {
			return err
		}
		tried += n
	}
	if tried == 0 {
		return backends.ErrDisabled
	}
	if c.backend != "" {
		return nil
	}
	return c.checkCaches(ctx, s)
}

// describe describes the named backend, or for the empty name all, each once: a
// default that is a named backend goes by that name.
func describe(s celeryresults.Settings, name string) ([]settings.Description, error) {
	if _, err := s.Named(name); err != nil {
		return nil, err
	}
	_, alias := s.ResultBackends[s.ResultBackend]
	return slices.DeleteFunc(settings.Describe(s), func(d settings.Description) bool {
		isDefault := settingsName(s, d) == ""
		return name != "" && d.Name != name || isDefault && alias
	}), nil
}

// checkOne prints what there is to say of one backend and returns how many were
// tried: none, if it keeps no results.
func (c *cli) checkOne(ctx context.Context, s celeryresults.Settings, d settings.Description) (tried int, err error) {
	chosen, err := s.Named(settingsName(s, d))
	if err != nil {
		return 0, err
	}
	if isDisabled(chosen) {
		return 0, c.printCheck(d, finding{text: "not tried"})
	}
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	f := tryBackend(ctx, chosen)
	if c.python != nil && settingsName(s, d) == c.backend {
		f.compare(chosen, *c.python)
	}
	c.report("check "+d.Name, f.err)
	if err := c.printCheck(d, f); err != nil {
		return 1, err
	}
	if f.differ > 0 { // what lies in the store may be other programs'
		c.report("check "+d.Name, withStatus(statusUsage, fmt.Errorf("%d settings do not match Python's", f.differ)))
	}
	return 1, nil
}

// compare adds what differs from the settings of the Python project. Where it keeps
// several backends, its default one counts.
func (f *finding) compare(ours celeryresults.Settings, python doctor.Python) {
	their, err := python.Settings.Named("")
	if err != nil {
		return
	}
	python.Settings = their
	differ := doctor.Compare(ours, python)
	f.differ, f.mismatches = len(differ), append(differ, f.mismatches...)
}

// settingsName returns the name by which Settings know a described backend.
func settingsName(s celeryresults.Settings, d settings.Description) string {
	if _, ok := s.ResultBackends[d.Name]; ok {
		return d.Name
	}
	return ""
}

// finding is what a check found.
type finding struct {
	text       string
	store, get time.Duration // round trips
	err        error
	missing    []string // columns and tables of django-db
	mismatches []doctor.Mismatch
	differ     int // how many of them are between settings
}

// remedy returns the command that makes what is missing.
func (f finding) remedy() string {
	switch {
	case len(f.missing) == 0:
		return ""
	case !errors.Is(f.err, celeryresults.ErrNoTable) && strings.Contains(strings.Join(f.missing, ""), "."):
		return "celery-results migrate --alter"
	}
	return "celery-results migrate"
}

// tryBackend opens the backend and tries it with a probe that expires soon.
func tryBackend(ctx context.Context, s celeryresults.Settings) finding {
	asked := s
	s.ResultExpires, s.DjangoDB.ReadYourWrites = probeExpires, probeExpires
	s.ResultBackends, s.TaskBackends = nil, nil
	backend, err := backends.OpenBackend(s, "")
	if err != nil {
		return finding{err: withStatus(statusUsage, err)}
	}
	defer backend.Close()
	p := &probe{backend: backend, id: "celery-results-check-" + rand.Text()}
	f := finding{text: "stored, read back equal, a late STARTED refused, deleted"}
	for _, step := range []func(context.Context) error{p.store, p.read, p.refuse, p.remove} {
		if f.err = step(ctx); f.err != nil {
			break
		}
	}
	f.store, f.get = p.stored, p.got
	if f.err != nil {
		f.text = "failed: " + reason(f.err)
		forget(ctx, backend, p.id)
	}
	f.look(ctx, backend)
	if f.err == nil {
		if f.mismatches, err = doctor.Look(ctx, asked, backend, p.id); err != nil {
			f.err, f.text = err, "failed: "+reason(err)
		}
	}
	return f
}

// forget takes away what a broken-off check may have left. It expires in any
// case.
func forget(ctx context.Context, backend *celeryresults.Backend, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = backend.Forget(ctx, id)
}

// look notes what the tables of a backend lack, if it has some.
func (f *finding) look(ctx context.Context, backend *celeryresults.Backend) {
	tables, ok := backend.Driver().(interface {
		MissingColumns(ctx context.Context) ([]string, error)
	})
	if !ok || ctx.Err() != nil {
		return
	}
	missing, err := tables.MissingColumns(ctx)
	if f.missing = missing; err != nil && f.err == nil {
		f.err = fmt.Errorf("look at the tables: %w", err)
		f.text = "failed: " + reason(f.err)
	}
}

// probe is a record that check stores, reads and deletes.
type probe struct {
	backend     *celeryresults.Backend
	id          string
	stored, got time.Duration // round trips
}

// probeValue has something of everything that every serializer can hold.
var probeValue = map[string]any{
	"text": "pr\u00f6be \U0001F50D", "numbers": []any{int64(-1), 0.1, new(big.Int).Lsh(big.NewInt(1), 62)}, "none": nil, "true": true,
}

// errProbe is what a store that works, but not rightly, is reported as.
var errProbe = withStatus(statusFailed, errors.New("the store answers, but wrongly"))

func (p *probe) store(ctx context.Context) error {
	start := time.Now()
	defer func() { p.stored = time.Since(start) }()
	err := p.backend.StoreResult(ctx, &celeryresults.TaskMeta{
		TaskID: p.id, State: celeryresults.Success, Result: celeryresults.NewValue(probeValue),
		Children: []celeryresults.ResultTuple{}, DateDone: start.UTC().Truncate(time.Microsecond),
	})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

func (p *probe) read(ctx context.Context) error {
	start := time.Now()
	meta, err := p.backend.GetTaskMeta(ctx, p.id)
	p.got = time.Since(start)
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	if meta.State != celeryresults.Success {
		return fmt.Errorf("%w: the state read back is %s, not SUCCESS", errProbe, meta.State)
	}
	tree, err := meta.Result.Any()
	if err != nil {
		return fmt.Errorf("%w: %w", errProbe, err)
	}
	if got, want := python.JSON(nil, tree), python.JSON(nil, probeValue); !bytes.Equal(got, want) {
		return fmt.Errorf("%w: read back %s, not %s", errProbe, got, want)
	}
	return nil
}

// refuse makes sure that a SUCCESS that stands is not overwritten.
func (p *probe) refuse(ctx context.Context) error {
	err := p.backend.StoreResult(ctx, &celeryresults.TaskMeta{TaskID: p.id, State: celeryresults.Started})
	switch {
	case errors.Is(err, celeryresults.ErrRefused):
		return nil
	case err != nil:
		return fmt.Errorf("store again: %w", err)
	}
	return fmt.Errorf("%w: STARTED has overwritten SUCCESS", errProbe)
}

func (p *probe) remove(ctx context.Context) error {
	if err := p.backend.Forget(ctx, p.id); err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	meta, err := p.backend.GetTaskMeta(ctx, p.id)
	switch {
	case err != nil:
		return fmt.Errorf("get: %w", err)
	case meta.State != celeryresults.Pending:
		return fmt.Errorf("%w: the deleted probe is still %s", errProbe, meta.State)
	}
	return nil
}

// printCheck prints the description and what was found.
func (c *cli) printCheck(d settings.Description, f finding) error {
	took := ""
	if f.err == nil && f.store > 0 {
		took = fmt.Sprintf("store %s, get %s", f.store.Round(time.Microsecond), f.get.Round(time.Microsecond))
	}
	var rows []row
	for _, r := range append(d.Rows(), [2]string{"probe", f.text}, [2]string{"took", took},
		[2]string{"missing", strings.Join(f.missing, "\n")}, [2]string{"remedy", f.remedy()}) {
		if r[1] != "" {
			rows = append(rows, row{r[0], r[1]})
		}
	}
	for _, m := range f.mismatches {
		rows = append(rows, row{"mismatch", fmt.Sprintf("%s: %s here, %s there: %s\n%s", m.Setting, cmp.Or(m.Ours, "nothing"), cmp.Or(m.Theirs, "nothing"), m.Effect, m.Remedy)})
	}
	return c.print(checkObject(d, f), rows)
}

func checkObject(d settings.Description, f finding) python.Dict {
	missing := make([]any, len(f.missing))
	for i, name := range f.missing {
		missing[i] = name
	}
	mismatches := make([]any, len(f.mismatches))
	for i, m := range f.mismatches {
		mismatches[i] = python.Dict{
			{Key: "setting", Value: m.Setting}, {Key: "ours", Value: m.Ours}, {Key: "theirs", Value: m.Theirs}, {Key: "effect", Value: m.Effect}, {Key: "remedy", Value: m.Remedy},
		}
	}
	return python.Dict{
		{Key: "name", Value: d.Name}, {Key: "backend", Value: d.Backend}, {Key: "store", Value: d.Store},
		{Key: "key", Value: d.Key}, {Key: "expires", Value: d.Expires}, {Key: "holds", Value: d.Holds}, {Key: "serializer", Value: d.Serializer},
		{Key: "extended", Value: d.Extended}, {Key: "compatible", Value: d.Compatible},
		{Key: "ok", Value: f.err == nil}, {Key: "probe", Value: f.text},
		{Key: "store_seconds", Value: f.store.Seconds()}, {Key: "get_seconds", Value: f.get.Seconds()},
		{Key: "missing", Value: missing}, {Key: "remedy", Value: textOrNone(f.remedy())},
		{Key: "mismatches", Value: mismatches},
	}
}
