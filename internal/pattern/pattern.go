// Package pattern has patterns of task names, in which * stands for any text and ? for one
// character.
package pattern

import (
	"strings"
	"unicode/utf8"
)

// Is reports whether a task name is a pattern.
func Is(s string) bool { return strings.ContainsAny(s, "*?") }

// Matches reports whether a task name is what the pattern describes. It never tries more than len(pattern) × len(name) steps.
func Matches(pattern, name string) bool {
	star, resume := -1, 0
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, n
			p++
		case p < len(pattern) && pattern[p] == '?':
			p++
			n += width(name[n:])
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star >= 0:
			resume += width(name[resume:])
			p, n = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// width returns how many bytes the first character has.
func width(s string) int {
	_, size := utf8.DecodeRuneInString(s)
	return size
}
