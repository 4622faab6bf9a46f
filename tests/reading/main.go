// How runc reads config.json and its command line, for tests/reading/run.py.
//
//	reading spec    a text in base64 a line; prints the runtime-spec's Spec as encoding/json has it
//	reading line    arguments as a JSON array a line; prints what urfave/cli makes of them
//	reading fields  prints the Spec's fields by struct, for ocishim/oci/structs.py
//
// The commands and flags are those of runc 1.3.0's main.go, create.go, run.go and restore.go.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli"
)

func main() {
	ways := map[string]func([]byte) any{"spec": readSpec, "line": readLine}
	if os.Args[1] == "fields" {
		answer(os.Stdout, fields())
		return
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<26)
	for lines.Scan() {
		answer(out, ways[os.Args[1]](lines.Bytes()))
	}
}

func answer(out io.Writer, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(out, "%s\n", text)
}

// As runc's loadSpec.
func readSpec(line []byte) any {
	text, err := base64.StdEncoding.DecodeString(string(line))
	if err != nil {
		panic(err)
	}
	var spec *specs.Spec
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&spec); err != nil || spec == nil {
		return map[string]string{"error": fmt.Sprint(err)}
	}
	return spec
}

type result struct {
	Command string `json:"command"` // "" where runc prints a help or its version
	Bundle  string `json:"bundle"`
	ID      string `json:"id"`
	Log     string `json:"log"`
	Format  string `json:"format"`
	Error   string `json:"error"`
}

func readLine(line []byte) any {
	var args []string
	if err := json.Unmarshal(line, &args); err != nil {
		panic(err)
	}
	var found result
	cli.OsExiter = func(int) {}
	cli.ErrWriter = io.Discard
	app := cli.NewApp()
	app.Name, app.Version, app.Writer, app.ErrWriter = "runc", "1", io.Discard, io.Discard
	app.Flags = flags("debug!", "log", "log-format", "root", "criu", "systemd-cgroup!", "rootless")
	create := []string{"bundle, b", "console-socket", "pidfd-socket", "pid-file", "no-pivot!",
		"no-new-keyring!", "preserve-fds#"}
	restore := []string{"console-socket", "image-path", "work-path", "tcp-established!",
		"ext-unix-sk!", "shell-job!", "file-locks!", "manage-cgroups-mode", "bundle, b",
		"detach,d!", "pid-file", "no-subreaper!", "no-pivot!", "empty-ns[]", "auto-dedup!",
		"lazy-pages!", "lsm-profile", "lsm-mount-context"}
	app.Commands = []cli.Command{
		command("create", &found, create...),
		command("run", &found, append(create, "detach, d!", "keep!", "no-subreaper!")...),
		command("restore", &found, restore...),
	}
	for _, name := range strings.Fields("checkpoint delete events exec kill list pause ps resume " +
		"spec start state update features") {
		other := command(name, &found)
		other.SkipFlagParsing = true
		app.Commands = append(app.Commands, other)
	}
	if err := app.Run(append([]string{"runc"}, args...)); err != nil {
		return result{Error: err.Error()}
	}
	return found
}

func command(name string, found *result, names ...string) cli.Command {
	return cli.Command{Name: name, Flags: flags(names...), Action: func(c *cli.Context) error {
		if len(names) > 0 && c.NArg() != 1 {
			return fmt.Errorf("%q requires exactly 1 argument", name)
		}
		*found = result{Command: name, Bundle: c.String("bundle"), ID: c.Args().First(),
			Log: c.GlobalString("log"), Format: c.GlobalString("log-format")}
		return nil
	}}
}

func flags(names ...string) (all []cli.Flag) {
	for _, name := range names {
		switch bare := strings.TrimRight(name, "!#[]"); name[len(bare):] {
		case "!":
			all = append(all, cli.BoolFlag{Name: bare})
		case "#":
			all = append(all, cli.IntFlag{Name: bare})
		case "[]":
			all = append(all, cli.StringSliceFlag{Name: bare})
		default:
			all = append(all, cli.StringFlag{Name: bare})
		}
	}
	return all
}

// See ocishim/oci/structs.py for what the shapes mean.
func fields() map[string]map[string]string {
	structs := map[string]map[string]string{}
	collect(reflect.TypeOf(specs.Spec{}), structs)
	return structs
}

func collect(kind reflect.Type, structs map[string]map[string]string) {
	if structs[kind.Name()] != nil {
		return
	}
	structs[kind.Name()] = map[string]string{}
	addFields(kind, structs[kind.Name()], structs)
}

func addFields(kind reflect.Type, into map[string]string, structs map[string]map[string]string) {
	for i := 0; i < kind.NumField(); i++ {
		field := kind.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && name == "" {
			addFields(field.Type, into, structs)
		} else if only := field.Tag.Get("platform"); kind.Name() != "Spec" || only == "" ||
			strings.Contains(only, "linux") {
			into[name] = shape(field.Type, structs)
		}
	}
}

func shape(kind reflect.Type, structs map[string]map[string]string) string {
	switch kind.Kind() {
	case reflect.Pointer:
		return "?" + shape(kind.Elem(), structs)
	case reflect.Interface:
		return "?"
	case reflect.Slice:
		return "[" + shape(kind.Elem(), structs)
	case reflect.Map:
		return "{" + shape(kind.Elem(), structs)
	case reflect.Struct:
		collect(kind, structs)
		return kind.Name()
	}
	return ""
}
