// The command example runs a task and a chord of machinery, whose broker is redis and
// whose results go to the backend that the second argument names:
//
//	go run ./example 127.0.0.1:6379 redis://127.0.0.1:6379/1
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/RichardKnop/machinery/v2"
	broker "github.com/RichardKnop/machinery/v2/brokers/redis"
	"github.com/RichardKnop/machinery/v2/config"
	lock "github.com/RichardKnop/machinery/v2/locks/eager"
	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/celeryresults/celeryresults"
	adapter "github.com/celeryresults/celeryresults/adapters/machinery"
	"github.com/celeryresults/celeryresults/backends"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: example BROKER BACKEND")
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(brokerAddr, backendURL string) error {
	app, err := backends.Open(celeryresults.Settings{ResultBackend: backendURL})
	if err != nil {
		return err
	}
	defer app.Close()
	backend := adapter.New(app.BackendFor("add")) // was redis.NewGR(cnf, addrs, 0)
	cnf := &config.Config{DefaultQueue: "tasks", ResultsExpireIn: 3600, NoUnixSignals: true, Redis: &config.RedisConfig{MaxIdle: 3, IdleTimeout: 240, ReadTimeout: 15, WriteTimeout: 15, ConnectTimeout: 15, NormalTasksPollPeriod: 1000}}
	server := machinery.NewServer(cnf, broker.NewGR(cnf, []string{brokerAddr}, 0), backend, lock.New())
	err = server.RegisterTasks(map[string]any{
		"add": func(a, b int64) (int64, error) { return a + b, nil },
		"sum": func(numbers ...int64) (int64, error) {
			total := int64(0)
			for _, n := range numbers {
				total += n
			}
			return total, nil
		},
		"fail": func() error { return fmt.Errorf("no") },
	})
	if err != nil {
		return err
	}
	worker := server.NewWorker("example", 2)
	go worker.LaunchAsync(make(chan error, 1))
	defer worker.Quit()

	add := func(a, b int64) *tasks.Signature {
		return &tasks.Signature{Name: "add", Args: []tasks.Arg{{Type: "int64", Value: a}, {Type: "int64", Value: b}}}
	}
	result, err := server.SendTask(add(2, 3))
	if err != nil {
		return err
	}
	values, err := result.GetWithTimeout(10*time.Second, 5*time.Millisecond)
	fmt.Println("task:", values[0].Int(), err)

	group, err := tasks.NewGroup(add(1, 2), add(3, 4))
	if err != nil {
		return err
	}
	chord, err := tasks.NewChord(group, &tasks.Signature{Name: "sum"})
	if err != nil {
		return err
	}
	body, err := server.SendChord(chord, 0)
	if err != nil {
		return err
	}
	values, err = body.GetWithTimeout(10*time.Second, 5*time.Millisecond)
	fmt.Println("chord:", values[0].Int(), err)

	failed, err := server.SendTask(&tasks.Signature{Name: "fail"})
	if err != nil {
		return err
	}
	_, err = failed.GetWithTimeout(10*time.Second, 5*time.Millisecond)
	fmt.Println("failure:", err)

	// Whoever knows the id reads it, in Go and in Python.
	typed, err := celeryresults.Get[int](context.Background(), app.AsyncResult(result.Signature.UUID))
	fmt.Println("celeryresults:", typed, err)
	return nil
}
