package caddymodule

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// program is what people type in front of our commands: `wxgate`, or `caddy
// wxgate` in a Caddy of their own.
func program() string {
	name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	if name == commandName {
		return name
	}
	return name + " " + commandName
}

// path is what people type for a command, without its words and flags.
func path(cmd *cobra.Command) string {
	if cmd.Name() == commandName {
		return program()
	}
	return path(cmd.Parent()) + " " + cmd.Name()
}

// usage is path with the command's words and flags.
func usage(cmd *cobra.Command) string {
	_, words, _ := strings.Cut(cmd.Use, " ")
	line := path(cmd)
	if words != "" {
		line += " " + words
	}
	if cmd.HasAvailableLocalFlags() {
		line += " [flags]"
	}
	return line
}

// help explains a command. Cobra's own help would name the program by Caddy's
// words and end with Caddy's addresses.
func help(cmd *cobra.Command) {
	w := cmd.OutOrStdout()
	text := strings.TrimSpace(cmd.Long)
	if text == "" {
		text = cmd.Short + "."
	}
	fmt.Fprintf(w, "%s\n\nUsage:\n  %s\n", text, usage(cmd))
	if cmd.Example != "" {
		fmt.Fprintln(w, "\nExamples:")
		for line := range strings.Lines(strings.TrimSpace(cmd.Example)) {
			fmt.Fprintf(w, "  %s %s\n", program(), strings.TrimSpace(line))
		}
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintln(w, "\nCommands:")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(w, "  %-*s  %s\n", sub.NamePadding(), sub.Name(), sub.Short)
			}
		}
	}
	flags := cmd.NonInheritedFlags().FlagUsages()
	if cmd.Name() == commandName {
		flags = "" // they are below
	}
	section(w, "Flags", flags)
	shared := cmd.InheritedFlags().FlagUsages()
	if cmd.Name() == commandName {
		shared = cmd.PersistentFlags().FlagUsages()
	}
	section(w, "Flags of all commands", shared)
}

func section(w io.Writer, title, text string) {
	if text != "" {
		fmt.Fprintf(w, "\n%s:\n%s", title, text)
	}
}
