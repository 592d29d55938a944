// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"drover/internal/expression"
	"drover/internal/wire"
	"drover/internal/words"
)

func commandModule() Module {
	return Module{
		Name:     "command",
		Short:    "Run a program on the host",
		FreeForm: "cmd",
		Doc: `Runs a program directly, without a shell: pipes, redirections, wildcards, ~ and $VARIABLES mean nothing. ` +
			`A return code other than 0 is a failure.`,
		Args: append([]Arg{
			{Name: "cmd", Kind: String, Aliases: []string{"_raw_params"}, Doc: "The program and its arguments in one line; quotes group words."},
			{Name: "argv", Kind: List, Doc: "The program and its arguments as a list, taken as they are."},
		}, runArgs()...),
		Exclusive: [][]string{{"cmd", "argv"}},
		Check:     CheckFull,
		Returns:   runReturns(List),
		Example: `- name: Which version is installed?
  command: nomad version
  register: version
  changed_when: false`,
		Run: func(ctx context.Context, call *Call) (*Result, error) {
			argv, err := commandArgv(call.Args)
			if err != nil {
				return nil, err
			}
			return runProgram(ctx, call, argv, expression.FromGo(argv))
		},
	}
}

func shellModule() Module {
	return Module{
		Name:     "shell",
		Short:    "Run a command line through a shell on the host",
		FreeForm: "cmd",
		Doc: `Runs a command line through /bin/sh, or the shell that executable names. A return code other than 0 is a failure. ` +
			`Use command where no shell is needed: nothing in its arguments can then be taken for shell syntax.`,
		Args: append([]Arg{
			{Name: "cmd", Kind: String, Required: true, Aliases: []string{"_raw_params"}, Doc: "The command line."},
			{Name: "executable", Kind: Path, Default: "/bin/sh", Doc: "The shell; it is called with -c."},
		}, runArgs()...),
		Check:   CheckFull,
		Returns: runReturns(String),
		Example: `- name: How many allocations write logs?
  shell: ls -d /opt/nomad/alloc/*/alloc/logs | wc -l
  register: count
  changed_when: false`,
		Run: func(ctx context.Context, call *Call) (*Result, error) {
			line := call.Args.String("cmd")
			return runProgram(ctx, call, []string{call.Args.String("executable"), "-c", line}, line)
		},
	}
}

func runArgs() []Arg {
	return []Arg{
		{Name: "chdir", Kind: Path, Doc: "Directory to run in."},
		{Name: "creates", Kind: Path, Doc: "Run nothing when this path exists."},
		{Name: "removes", Kind: Path, Doc: "Run nothing when this path does not exist."},
		{Name: "stdin", Kind: String, Doc: "Text for the program's standard input."},
		{Name: "stdin_add_newline", Kind: Boolean, Default: true, Doc: "End stdin with a newline."},
		{Name: "strip_empty_ends", Kind: Boolean, Default: true, Doc: "Take newlines off the end of stdout and stderr."},
	}
}

func runReturns(cmd Kind) []Arg {
	return []Arg{
		{Name: "cmd", Kind: cmd, Doc: "What was run."},
		{Name: "rc", Kind: Integer, Doc: "Return code; 128 and the signal's number when a signal ended the program."},
		{Name: "stdout", Kind: String, Doc: "Standard output, at most 1 MiB: of more, the first and last parts."},
		{Name: "stderr", Kind: String, Doc: "Standard error, likewise."},
		{Name: "stdout_lines", Kind: List, Doc: "stdout by lines."},
		{Name: "stderr_lines", Kind: List, Doc: "stderr by lines."},
		{Name: "start", Kind: String, Doc: "When it began, by the host's clock, in UTC."},
		{Name: "end", Kind: String, Doc: "When it ended."},
		{Name: "delta", Kind: String, Doc: "How long it took."},
	}
}

func commandArgv(args Args) ([]string, error) {
	if args.Has("argv") {
		argv := args.Strings("argv")
		if len(argv) == 0 || argv[0] == "" {
			return nil, errors.New("argv names no program")
		}
		return argv, nil
	}
	parts, err := words.Split(args.String("cmd"))
	if err != nil {
		return nil, fmt.Errorf("cmd: %w", err)
	}
	if len(parts) == 0 {
		return nil, errors.New("no command is given")
	}
	argv := make([]string, len(parts))
	for i, part := range parts {
		argv[i] = part.Text
	}
	return argv, nil
}

func runProgram(ctx context.Context, call *Call, argv []string, shown any) (*Result, error) {
	request := wire.Run{
		Argv: argv, Env: call.Environment, Dir: call.Args.String("chdir"),
		Creates: call.Args.String("creates"), Removes: call.Args.String("removes"),
		Stdin: call.Args.String("stdin"),
	}
	if call.Args.Has("stdin") && call.Args.Bool("stdin_add_newline") {
		request.Stdin += "\n"
	}
	if call.Check {
		return predictRun(ctx, call, request)
	}
	var reply wire.RunResult
	err := call.Host.Call(ctx, request, nil, &reply)
	if wire.IsKind(err, wire.KindNotFound) || wire.IsKind(err, wire.KindPermission) {
		// A program that cannot be started has a return code too, for failed_when and rescue to look at.
		return &Result{Failed: true, Message: err.Error(), Data: expression.MapOf("cmd", shown, "rc", int64(2),
			"stdout", "", "stderr", "", "stdout_lines", []any{}, "stderr_lines", []any{})}, nil
	}
	if err != nil {
		return nil, err
	}
	return runResult(call, shown, reply), nil
}

// predictRun says under --check whether the program would run; what it would change cannot be known.
func predictRun(ctx context.Context, call *Call, request wire.Run) (*Result, error) {
	for _, condition := range []struct {
		path   string
		exists bool
		reason string
	}{
		{request.Creates, true, "skipped, since %s exists"},
		{request.Removes, false, "skipped, since %s does not exist"},
	} {
		if condition.path == "" {
			continue
		}
		var state wire.StatResult
		if err := call.Host.Call(ctx, wire.Stat{Path: condition.path, Follow: true}, nil, &state); err != nil {
			return nil, err
		}
		if state.Exists == condition.exists {
			return &Result{Message: fmt.Sprintf(condition.reason, condition.path), Data: expression.MapOf("rc", int64(0))}, nil
		}
	}
	if request.Creates != "" || request.Removes != "" {
		return &Result{Changed: true, Message: "would run, were this not a check"}, nil
	}
	return &Result{Skipped: true, Message: "would run, were this not a check"}, nil
}

func runResult(call *Call, shown any, reply wire.RunResult) *Result {
	stdout, stderr := reply.Stdout, reply.Stderr
	if call.Args.Bool("strip_empty_ends") {
		stdout, stderr = strings.TrimRight(stdout, "\r\n"), strings.TrimRight(stderr, "\r\n")
	}
	result := &Result{Changed: reply.Skipped == "", Message: reply.Skipped, Data: expression.MapOf(
		"cmd", shown, "rc", int64(reply.RC), "stdout", stdout, "stderr", stderr,
		"stdout_lines", lines(stdout), "stderr_lines", lines(stderr),
	)}
	if reply.Skipped != "" {
		result.Data.Set("stdout", "skipped, "+reply.Skipped)
		return result
	}
	start, end := time.Unix(0, reply.Start).UTC(), time.Unix(0, reply.End).UTC()
	result.Data.Set("start", clock(start))
	result.Data.Set("end", clock(end))
	result.Data.Set("delta", delta(end.Sub(start)))
	if reply.Truncated {
		result.Data.Set("truncated", true)
	}
	if reply.RC != 0 {
		result.Failed, result.Message = true, "non-zero return code"
	}
	return result
}

// lines splits a text as Python's splitlines does for the line ends that programs write.
func lines(text string) []any {
	list := []any{}
	for line := range strings.Lines(text) {
		list = append(list, strings.TrimRight(line, "\r\n"))
	}
	return list
}

// clock writes a time as Ansible's results do.
func clock(t time.Time) string { return t.Format("2006-01-02 15:04:05.000000") }

// delta writes a duration as Python's timedelta does.
func delta(d time.Duration) string {
	seconds := int64(d / time.Second)
	return fmt.Sprintf("%d:%02d:%02d.%06d", seconds/3600, seconds/60%60, seconds%60, d%time.Second/time.Microsecond)
}
