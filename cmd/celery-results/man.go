package main

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const manHelp = `Prints the manual page of this command and all of its commands, as man reads it.`

const manExample = `  celery-results man > celery-results.1
  celery-results man | man -l -`

func (c *cli) manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man", Short: "Print the manual page", Long: manHelp, Example: manExample,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.write(manual(cmd.Root())) },
	}
}

// manual is the whole command as a page of section 1. The texts are laid out already, so
// they are not filled.
func manual(root *cobra.Command) []byte {
	var b bytes.Buffer
	title := strings.ToUpper(root.Name())
	fmt.Fprintf(&b, ".TH %s 1 \"\" %q %q\n", title, root.Name()+" "+version(), "User Commands")
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(root.Name()), roff(lowerFirst(root.Short)))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n.I command\n[\\fIflags\\fR] [\\fIarguments\\fR]\n", roff(root.Name()))
	section(&b, "DESCRIPTION", root.Long)
	b.WriteString(".SH OPTIONS\nThese go with every command.\n")
	options(&b, root.PersistentFlags())
	b.WriteString(".SH COMMANDS\n")
	manCommands(&b, root, "")
	return b.Bytes()
}

// manCommands describes the commands below one, and those below them.
func manCommands(b *bytes.Buffer, parent *cobra.Command, path string) {
	for _, cmd := range parent.Commands() {
		if cmd.Hidden || cmd.Name() == "help" {
			continue
		}
		fmt.Fprintf(b, ".SS %s\n", roff(path+cmd.Use))
		text := cmd.Long
		if cmd.HasSubCommands() {
			text = strings.TrimSpace(cmd.Short + ".\n" + text)
		}
		verbatim(b, text)
		options(b, cmd.NonInheritedFlags())
		if cmd.Example != "" {
			b.WriteString(".PP\nExamples:\n")
			verbatim(b, cmd.Example)
		}
		if cmd.Name() == "completion" {
			continue // its commands are one for each shell, which say how they are used
		}
		manCommands(b, cmd, path+cmd.Name()+" ")
	}
}

func section(b *bytes.Buffer, name, text string) {
	fmt.Fprintf(b, ".SH %s\n", name)
	verbatim(b, text)
}

func verbatim(b *bytes.Buffer, text string) {
	b.WriteString(".nf\n")
	for line := range strings.Lines(text) {
		b.WriteString(roff(strings.TrimRight(line, "\n")) + "\n")
	}
	b.WriteString(".fi\n")
}

func options(b *bytes.Buffer, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(b, ".TP\n\\fB%s\\fR", roff("--"+f.Name))
		if value != "" {
			fmt.Fprintf(b, " \\fI%s\\fR", roff(value))
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(b, "\n%s\n", roff(usage))
	})
}

// roff escapes what roff would read as its own.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", "\\(ga").Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	var b strings.Builder
	for _, r := range text {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\[u%04X]`, r)
		}
	}
	return b.String()
}

func lowerFirst(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToLower(text[:1]) + text[1:]
}
