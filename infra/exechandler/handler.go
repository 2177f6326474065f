package exechandler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/handlerconfig"
)

// Options of New. The zero value works.
type Options struct {
	// Logger gives the logger of the running step, for the lines that a command writes to stderr. They come from a
	// goroutine of the handler, one by one, until Handle returns; a slow logger keeps the step from ending, but not the
	// command from writing. nil, and a nil result: the lines are only stored with the step.
	Logger func(ctx context.Context) *slog.Logger
}

type handler struct{ o Options }

// New returns the handler. It is safe for use by several goroutines and holds nothing that needs closing.
func New(o Options) domain.StepHandler { return handler{o} }

// Handle runs the command of the step to its end, or until ctx ends and the command has been given its grace. The result
// is a json.RawMessage.
func (h handler) Handle(ctx context.Context, task domain.TaskView, steps domain.Sequence, step domain.StepView) (any, error) {
	c, err := parse(step.Config)
	if err != nil {
		return nil, handlerconfig.Failed(err)
	}
	cmd, err := c.prepare(ctx, task, steps, step)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("command was not started: %w (%w)", context.Cause(ctx), ctx.Err())
	}
	full := make(chan struct{})
	stdout := &limited{room: c.maxOutput, full: full}
	run, _ := domain.RunFrom(ctx)
	stderr := newLines(h.journal(ctx, run), c.maxStderr)
	defer stderr.close()
	cmd.Stdout, cmd.Stderr = alive{stdout, run}, alive{stderr, run}
	if err := cmd.Start(); err != nil {
		return nil, c.startFailed(err, cmd)
	}
	p := process{cmd: cmd, grace: c.grace, full: full}
	err = p.wait(ctx)
	stderr.end()
	switch {
	case stdout.over:
		return nil, &domain.Failure{Kind: domain.KindPermanent, Code: "OUTPUT_TOO_LARGE", Err: fmt.Errorf(
			"command wrote more than %d bytes to stdout: raise max_output, or write a file and print its name", c.maxOutput)}
	case p.stopped:
		return nil, fmt.Errorf("command was stopped%s: %w (%w)%s", p.how(), context.Cause(ctx), ctx.Err(), stderr.tail())
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return result(stdout.buffer)
	}
	err = c.ended(err, stderr.tail())
	if f := (*domain.Failure)(nil); errors.As(err, &f) && f.Kind != domain.KindPermanent {
		wait, complaint := wish(stdout.buffer)
		f.RetryAfter = wait
		stderr.add(complaint)
	}
	return nil, err
}

// prepare makes the command, ready to be started.
func (c config) prepare(ctx context.Context, task domain.TaskView, steps domain.Sequence, step domain.StepView) (*exec.Cmd, error) {
	stdin, err := input(ctx, task, steps, step)
	if err != nil {
		return nil, err
	}
	scope := handlerconfig.Scope{Context: task.Context, Steps: steps}
	env, err := c.environment(ctx, scope, task, step)
	if err != nil {
		return nil, err
	}
	argv, err := c.command.expand(ctx, scope)
	if err != nil {
		return nil, err
	}
	if err := checkDir(c.dir); err != nil {
		return nil, err
	}
	path, err := find(argv[0], env)
	if err != nil {
		return nil, c.startFailed(err, nil)
	}
	cmd := &exec.Cmd{Path: path, Args: argv, Env: env, Dir: c.dir, Stdin: bytes.NewReader(stdin), WaitDelay: drain}
	ownGroup(cmd)
	return cmd, nil
}

// journal is where the lines of stderr go: into the engine's log, and to what is stored with the step.
func (h handler) journal(ctx context.Context, run domain.Run) *journal {
	var log *slog.Logger
	if h.o.Logger != nil {
		log = h.o.Logger(ctx)
	}
	return newJournal(func(lines []string) {
		if run != nil {
			run.AppendLog(lines...)
		}
		if log == nil {
			return
		}
		for _, line := range lines {
			log.InfoContext(ctx, line, "stream", "stderr")
		}
	})
}

// alive is output of a command. All of it is a sign of life of the step, also what nobody keeps.
type alive struct {
	io.Writer
	run domain.Run // nil when nobody listens
}

func (a alive) Write(b []byte) (int, error) {
	if a.run != nil {
		a.run.Heartbeat()
	}
	return a.Writer.Write(b)
}
