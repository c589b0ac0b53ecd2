package gocelery_test

import (
	"errors"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/gocelery/gocelery"

	"github.com/celeryresults/celeryresults"
	adapter "github.com/celeryresults/celeryresults/adapters/gocelery"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

func TestExample(t *testing.T) {
	redis := "redis://" + testserver.StartRedis(t).Addr()
	out, err := exec.Command("go", "run", "./example", redis+"/0", redis+"/1").CombinedOutput()
	if err != nil || string(out) != "gocelery: 5 <nil>\nceleryresults: 5 <nil>\n" {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestOverRedis(t *testing.T) {
	app, err := backends.Open(celeryresults.Settings{ResultBackend: "redis://" + testserver.Redis(t) + "/9"})
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	backend := app.BackendFor("add")
	b := adapter.New(backend)
	id := "gocelery-" + fmt.Sprint(time.Now().UnixNano())
	if _, err := b.GetResult(id); !errors.Is(err, adapter.ErrNotReady) {
		t.Fatalf("an unknown task: %v", err)
	}
	if err := b.SetResult(id, nil); err != nil {
		t.Fatalf("a task that returns nothing: %v", err)
	}
	if err := b.SetResult(id, &gocelery.ResultMessage{Status: "SUCCESS", Result: "late"}); err != nil {
		t.Fatalf("a task that is delivered again: %v", err)
	}
	message, err := b.GetResult(id)
	if err != nil || message.Status != "SUCCESS" || message.Result != nil || message.ID != id {
		t.Fatalf("%+v, %v", message, err)
	}

	failed := app.MarkAsFailure(t.Context(), &celeryresults.Request{ID: id + "-failed"}, errors.New("no"))
	message, err = b.GetResult(id + "-failed")
	if err := errors.Join(failed, err); err != nil || message.Status != "FAILURE" {
		t.Fatalf("a failure: %+v, %v", message, err)
	}
	if err := b.SetResult(id+"-own", &gocelery.ResultMessage{Status: "FAILURE", Result: "no", Traceback: "here"}); err != nil {
		t.Fatal(err)
	}
	meta, err := backend.GetTaskMeta(t.Context(), id+"-own")
	if err != nil || meta.Err() == nil || meta.Traceback != "here" {
		t.Fatalf("a failure of the program's own: %+v, %v", meta, err)
	}

	done := app.MarkAsDone(t.Context(), &celeryresults.Request{ID: id + "-types"}, map[string]any{"n": 5, "list": []any{1, "two"}})
	message, err = b.GetResult(id + "-types")
	if err := errors.Join(done, err); err != nil {
		t.Fatal(err)
	}
	if n, ok := message.Result.(map[string]any)["n"].(float64); !ok || n != 5 {
		t.Fatalf("numbers are those of encoding/json: %#v", message.Result)
	}
	if err := b.SetResult("", nil); !errors.Is(err, celeryresults.ErrNoTaskID) {
		t.Fatalf("no id: %v", err)
	}
}
