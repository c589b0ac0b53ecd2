// The command example runs a task of gocelery, whose broker is redis and whose results
// go to the backend that the second argument names:
//
//	go run ./example redis://127.0.0.1:6379/0 redis://127.0.0.1:6379/1
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/gocelery/gocelery"

	"github.com/celeryresults/celeryresults"
	adapter "github.com/celeryresults/celeryresults/adapters/gocelery"
	"github.com/celeryresults/celeryresults/backends"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: example BROKER BACKEND")
	}
	app, err := backends.Open(celeryresults.Settings{ResultBackend: os.Args[2]})
	if err != nil {
		log.Fatal(err)
	}
	defer app.Close()
	broker := gocelery.NewRedisBroker(gocelery.NewRedisPool(os.Args[1]))
	backend := adapter.New(app.BackendFor("add")) // was gocelery.NewRedisBackend(pool)
	client, err := gocelery.NewCeleryClient(broker, backend, 1)
	if err != nil {
		log.Fatal(err)
	}
	client.Register("add", func(a, b int) int { return a + b })
	client.StartWorker()
	defer client.StopWorker()

	result, err := client.Delay("add", 2, 3)
	if err != nil {
		log.Fatal(err)
	}
	sum, err := result.Get(10 * time.Second)
	fmt.Println("gocelery:", sum, err)

	// Whoever knows the id reads it, in Go and in Python.
	typed, err := celeryresults.Get[int](context.Background(), app.AsyncResult(result.TaskID))
	fmt.Println("celeryresults:", typed, err)
}
