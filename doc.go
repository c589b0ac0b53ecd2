// Package celeryresults stores and reads the results of Celery tasks, in the
// very stores and formats that Celery, Django and django-celery-results use.
//
// # The contract
//
// Celery runs tasks. A result backend keeps, under the task's id, its state,
// its return value or the exception it failed with, and metadata, until they
// expire. [Backend] is that contract. It is one concrete type over many stores: package
// driver says what a store must do, packages below backends do it in redis, Django's
// caches and SQL tables, and backends.Open makes Backends from [Settings].
//
// A record goes through states: PENDING (nothing is known, or it was only
// sent), STARTED, custom states such as PROGRESS, RETRY, and one of the ready
// states SUCCESS, FAILURE and REVOKED. A SUCCESS that stands is never
// overwritten, a FAILURE or REVOKED only by another ready state. The stores
// decide that atomically, and a writer that comes too late gets a
// *[RefusedError].
//
// An [App] holds a default backend and named ones, and knows which of them
// each task uses. [AsyncResult] is what callers hold: ask it for the state,
// wait for it, decode its value. A task's failure is an error value, a
// *[TaskError].
//
// # Celery's words and Go's
//
//	app.conf                      Settings
//	app.AsyncResult(id)           App.AsyncResult
//	result.get(timeout=5)         AsyncResult.Get, or Get[T], with a context
//	result.state, .ready(), …     AsyncResult.State, Ready, …
//	result.name, .args, .info, …  AsyncResult.Meta, with all fields of the record
//	EagerResult, task.apply()     NewEagerResult, App.Apply
//	result.as_tuple()             ResultTuple
//	ResultSet, GroupResult        ResultSet, GroupResult
//	result.collect, join          ResultSet.AsCompleted, Join; Join
//	backend.store_result          Backend.StoreResult
//	backend.get_task_meta         Backend.GetTaskMeta
//	backend.get_many              Backend.GetMany
//	backend.wait_for              Backend.WaitFor
//	save_group, restore_group     Backend.SaveGroup, RestoreGroup
//	chord                         Backend.StartChord, ReportPart
//	on_chord_part_return          Backend.CeleryChord
//	backend.cleanup               App.Cleanup, Backend.Cleanup
//	TaskResult.objects.filter     Backend.List, Query
//	mark_as_started, …_done, …    App.MarkAsStarted, MarkAsDone, …
//	task.update_state             App.UpdateState
//	task.request                  Request
//	the exception of a failure    *TaskError
//
// # Values
//
// Results are Python values. Package python says which Go types they become;
// [Value.Decode], [As] and [Get] turn them into types of your own. What can't
// be decoded never hides the state, the ids and the times of a result.
package celeryresults
