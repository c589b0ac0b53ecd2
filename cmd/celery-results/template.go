package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"text/template"
	"time"

	"github.com/celeryresults/celeryresults/python"
)

// parseTemplate reads --template: a template of Go's package text/template, for one
// object.
func parseTemplate(text string) (*template.Template, error) {
	functions := template.FuncMap{
		"json": func(v any) string { return string(python.JSON(nil, v)) },
		"join": func(separator string, list []any) string {
			texts := make([]string, len(list))
			for i, v := range list {
				texts[i] = fmt.Sprint(v)
			}
			return strings.Join(texts, separator)
		},
	}
	t, err := template.New("--template").Funcs(functions).Option("missingkey=zero").Parse(text)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "template: "))
	}
	return t, nil
}

// usualFields are those that a record may lack.
var usualFields = strings.Fields(`task_id status result traceback children date_done name args kwargs worker retries queue group_id parent_id
	date_created date_started periodic_task_name meta error`)

// execute prints an object by the template, and a line break behind it.
func (c *cli) execute(object python.Dict) error {
	fields := make(map[string]any, len(object)+len(usualFields))
	for _, name := range usualFields {
		fields[name] = "" // rather than <no value>
	}
	for _, f := range object {
		name, _ := f.Key.(string)
		fields[name] = templated(f.Value, 0)
	}
	var text bytes.Buffer
	if err := c.template.Execute(&text, fields); err != nil {
		return withStatus(statusUsage, errors.New(strings.TrimPrefix(err.Error(), "template: ")))
	}
	text.WriteByte('\n')
	return c.write(text.Bytes())
}

// templated returns a value as templates can use it: maps by text, lists, texts without
// what could drive a terminal, numbers and truth values; all else as its text in JSON, and None
// as an empty text.
func templated(v any, depth int) any {
	const deepest = 500
	if depth > deepest {
		return "…"
	}
	list := func(items []any) []any {
		out := make([]any, len(items))
		for i, item := range items {
			out[i] = templated(item, depth+1)
		}
		return out
	}
	switch t := v.(type) {
	case nil:
		return ""
	case string:
		return escapeLines(t)
	case bool, int, int64, float64:
		return t
	case time.Time:
		return string(python.AppendISO(nil, t))
	case []any:
		return list(t)
	case python.Tuple:
		return list(t)
	case map[string]any:
		out := make(map[string]any, len(t))
		for name, value := range t {
			out[escape(name)] = templated(value, depth+1)
		}
		return out
	case python.Dict:
		out := make(map[string]any, len(t))
		for _, pair := range t {
			name, ok := pair.Key.(string)
			if !ok {
				name = string(python.JSON(nil, pair.Key))
			}
			out[escape(name)] = templated(pair.Value, depth+1)
		}
		return out
	}
	return strings.Trim(string(python.JSON(nil, v)), `"`)
}
