package machinery_test

import (
	"errors"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/celeryresults/celeryresults"
	adapter "github.com/celeryresults/celeryresults/adapters/machinery"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

func TestExample(t *testing.T) {
	addr := testserver.StartRedis(t).Addr()
	command := exec.Command("go", "run", "./example", addr, "redis://"+addr+"/1")
	var log strings.Builder
	command.Stderr = &log
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, &log)
	}
	for _, line := range []string{"task: 5 <nil>\n", "chord: 10 <nil>\n", "failure: no\n", "celeryresults: 5 <nil>\n"} { // among machinery's log
		if !strings.Contains("\n"+string(out), "\n"+line) {
			t.Errorf("no %q in\n%s", line, out)
		}
	}
}

func open(t *testing.T) (*celeryresults.App, *adapter.Backend) {
	t.Helper()
	app, err := backends.Open(celeryresults.Settings{ResultBackend: "redis://" + testserver.StartRedis(t).Addr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { app.Close() })
	return app, adapter.New(app.BackendFor("add"))
}

func TestStates(t *testing.T) {
	app, b := open(t)
	signature := &tasks.Signature{UUID: "task", Name: "add"}
	expect := func(want string) *tasks.TaskState {
		t.Helper()
		state, err := b.GetState("task")
		if err != nil || state.State != want {
			t.Fatalf("want %s, got %+v, %v", want, state, err)
		}
		return state
	}
	expect(tasks.StatePending)
	for want, set := range map[string]func(*tasks.Signature) error{
		tasks.StatePending: b.SetStatePending, tasks.StateReceived: b.SetStateReceived, tasks.StateStarted: b.SetStateStarted, tasks.StateRetry: b.SetStateRetry,
	} {
		if err := set(signature); err != nil {
			t.Fatal(err)
		}
		if want != tasks.StatePending { // which overwrites nothing
			expect(want)
		}
	}
	results := []*tasks.TaskResult{{Type: "int64", Value: int64(1) << 60}, {Type: "[]string", Value: []string{"a"}}, {Type: "float64", Value: 1.5}}
	if err := b.SetStateSuccess(signature, results); err != nil {
		t.Fatal(err)
	}
	for _, late := range []func() error{
		func() error { return b.SetStateStarted(signature) }, func() error { return b.SetStateFailure(signature, "late") },
	} {
		if err := late(); err != nil {
			t.Fatalf("a task that is delivered again: %v", err)
		}
	}
	values, err := tasks.ReflectTaskResults(expect(tasks.StateSuccess).Results)
	if err != nil || values[0].Int() != 1<<60 || !reflect.DeepEqual(values[1].Interface(), []string{"a"}) || values[2].Float() != 1.5 {
		t.Fatalf("%v, %v", values, err)
	}
	if err := b.PurgeState("task"); err != nil {
		t.Fatal(err)
	}
	expect(tasks.StatePending)
	if err := b.SetStateFailure(signature, "no"); err != nil {
		t.Fatal(err)
	}
	if state := expect(tasks.StateFailure); state.Error != "no" {
		t.Fatalf("%+v", state)
	}
	if err := app.MarkAsDone(t.Context(), &celeryresults.Request{ID: "python's"}, []any{1, 2}); err != nil {
		t.Fatal(err)
	}
	state, err := b.GetState("python's")
	if err != nil {
		t.Fatal(err)
	}
	values, err = tasks.ReflectTaskResults(state.Results)
	if err != nil || !reflect.DeepEqual(values[0].Interface(), []int64{1, 2}) {
		t.Fatalf("%v, %v", values, err)
	}
	if err := b.SetStateSuccess(&tasks.Signature{UUID: "nothing"}, nil); err != nil {
		t.Fatal(err)
	}
	if state, err := b.GetState("nothing"); err != nil || state.State != tasks.StateSuccess || len(state.Results) != 0 {
		t.Fatalf("%+v, %v", state, err)
	}
}

func TestGroups(t *testing.T) {
	_, b := open(t)
	if err := b.InitGroup("group", []string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	completed := func(want bool) {
		t.Helper()
		if got, err := b.GroupCompleted("group", 2); err != nil || got != want {
			t.Fatalf("%v, %v", got, err)
		}
	}
	completed(false)
	set := errors.Join(b.SetStateSuccess(&tasks.Signature{UUID: "a"}, []*tasks.TaskResult{{Type: "int64", Value: int64(1)}}), b.SetStateFailure(&tasks.Signature{UUID: "b"}, "no"))
	if set != nil {
		t.Fatal(set)
	}
	completed(true)
	states, err := b.GroupTaskStates("group", 2)
	if err != nil || len(states) != 2 || states[0].State != tasks.StateSuccess || states[1].Error != "no" {
		t.Fatalf("%v, %v", states, err)
	}
	var triggered atomic.Int32
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if ok, err := b.TriggerChord("group"); err != nil {
				t.Error(err)
			} else if ok {
				triggered.Add(1)
			}
		})
	}
	callers.Wait()
	if triggered.Load() != 1 {
		t.Fatalf("triggered %d times", triggered.Load())
	}
	if err := b.PurgeGroupMeta("group"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.GroupCompleted("group", 2); !errors.Is(err, celeryresults.ErrUnknownGroup) {
		t.Fatal(err)
	}
	if b.IsAMQP() {
		t.Fatal("it is no AMQP")
	}
}

func TestBackendsWithoutGroups(t *testing.T) {
	app, err := backends.Open(celeryresults.Settings{ResultBackend: "disabled"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := adapter.New(app.BackendFor("add")).GroupCompleted("group", 2); !errors.Is(err, backends.ErrDisabled) {
		t.Fatal(err)
	}
}
