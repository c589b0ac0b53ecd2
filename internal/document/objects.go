package document

import (
	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/serialization/pickle"
	"github.com/celeryresults/celeryresults/python"
)

// rebuild is what Celery's results are unpickled by.
var rebuild = python.Class{Module: "celery.app.base", Name: "_unpickle_appattr"}

// ResultObject returns the object that Python makes a GroupResult of, in the current app
// and with its backend. Pickle it.
func ResultObject(group celeryresults.ResultTuple) any { return resultObject(group, true) }

func resultObject(r celeryresults.ResultTuple, group bool) any {
	if !group && r.Children == nil {
		var parent any
		if r.Parent != nil {
			parent = resultObject(*r.Parent, false)
		}
		return pickle.Trusted{Object: &python.Object{Class: rebuild, Args: python.Tuple{"AsyncResult", python.Tuple{r.ID, nil, nil, nil, parent}}}}
	}
	members := make([]any, len(r.Children))
	for i, child := range r.Children {
		members[i] = resultObject(child, false)
	}
	args := python.Tuple{r.ID, members}
	if r.Parent != nil {
		args = append(args, resultObject(*r.Parent, false))
	}
	return pickle.Trusted{Object: &python.Object{Class: rebuild, Args: python.Tuple{"GroupResult", args}}}
}

// TupleOfObject returns the result that an unpickled object is, of Celery's classes or
// made by its app.
func TupleOfObject(tree any) (celeryresults.ResultTuple, bool) { return tupleOf(tree, 0) }

func tupleOf(tree any, depth int) (t celeryresults.ResultTuple, ok bool) {
	o, ok := tree.(*python.Object)
	if !ok || depth > maxNesting {
		return t, false
	}
	class, args := o.Class.Name, []any(o.Args)
	if o.Class == rebuild && len(args) == 2 {
		class, _ = args[0].(string)
		args, _ = items(args[1])
	}
	if len(args) == 0 {
		return t, false
	}
	if t.ID, ok = args[0].(string); !ok {
		return t, false
	}
	var parent any
	switch class {
	case "AsyncResult", "EagerResult":
		if len(args) > 4 && class == "AsyncResult" {
			parent = args[4]
		}
	case "GroupResult", "TaskSetResult":
		if len(args) < 2 {
			return t, false
		}
		t.Children = []celeryresults.ResultTuple{}
		members, _ := items(args[1])
		for _, member := range members {
			child, ok := tupleOf(member, depth+1)
			if !ok {
				return t, false
			}
			t.Children = append(t.Children, child)
		}
		if len(args) > 2 {
			parent = args[2]
		}
	default:
		return t, false
	}
	if p, ok := tupleOf(parent, depth+1); ok {
		t.Parent = &p
	}
	return t, true
}
