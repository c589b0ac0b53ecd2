package sqldialect

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
)

// Listen holds a connection of a PostgreSQL database that listens on a channel,
// and calls notify with each payload until the context ends or the connection
// breaks, which is the error. It calls ready once it listens. The channel's name
// must need no quotes.
//
// It returns errors.ErrUnsupported for drivers other than pgx's, which it knows by
// their methods, as this package links none.
func Listen(ctx context.Context, db *sql.DB, channel string, ready func(), notify func(payload string)) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	err = conn.Raw(func(dc any) error {
		_, err := notifications(dc)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	ready()
	return conn.Raw(func(dc any) error {
		next, err := notifications(dc)
		for err == nil {
			var payload string
			if payload, err = next(ctx); err == nil {
				notify(payload)
			}
		}
		return fmt.Errorf("%w: %w", driver.ErrBadConn, err) // it listens: nobody else is to get it
	})
}

// notifications returns what waits for a notification and returns its payload:
// WaitForNotification of the *pgx.Conn of pgx's stdlib.
func notifications(dc any) (func(context.Context) (string, error), error) {
	unsupported := fmt.Errorf("sqldialect: listen: driver %T: %w", dc, errors.ErrUnsupported)
	inner, ok := call(reflect.ValueOf(dc), "Conn")
	if !ok || len(inner) != 1 {
		return nil, unsupported
	}
	wait := inner[0].MethodByName("WaitForNotification")
	if !wait.IsValid() || wait.Type().NumIn() != 1 || wait.Type().NumOut() != 2 {
		return nil, unsupported
	}
	return func(ctx context.Context) (string, error) {
		out := wait.Call([]reflect.Value{reflect.ValueOf(ctx)})
		if err, failed := out[1].Interface().(error); failed {
			return "", err
		}
		return reflect.Indirect(out[0]).FieldByName("Payload").String(), nil
	}, nil
}

// call calls a method without arguments.
func call(v reflect.Value, method string) ([]reflect.Value, bool) {
	m := v.MethodByName(method)
	if !m.IsValid() || m.Type().NumIn() != 0 {
		return nil, false
	}
	return m.Call(nil), true
}
