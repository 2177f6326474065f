package exechandler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"sync"

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

// Handler runs programs. It is safe for use by several goroutines.
type Handler struct {
	options Options
	closing chan struct{}

	mu      sync.Mutex // guards closed, and additions to running against it
	closed  bool
	running sync.WaitGroup
}

// New returns a handler. Whoever ends its process calls Close before.
func New(o Options) *Handler { return &Handler{options: o, closing: make(chan struct{})} }

var errClosed = errors.New("the engine stops")

// Close stops the commands that still run, as the end of their contexts does, and returns when they are gone: their
// programs would outlive the process otherwise. It takes at most their grace and half a second. Handle fails after it. A
// second call waits as the first. The error is nil.
func (h *Handler) Close() error {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.closing)
	}
	h.mu.Unlock()
	h.running.Wait()
	return nil
}

func (h *Handler) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.running.Add(1)
	}
	return !h.closed
}

// Handle runs the command of the step to its end, or until ctx ends and the command has been given its grace. The result
// is a json.RawMessage.
func (h *Handler) Handle(ctx context.Context, task domain.TaskView, steps domain.Sequence, step domain.StepView) (any, error) {
	if !h.begin() {
		return nil, fmt.Errorf("command was not started: %w", errClosed)
	}
	defer h.running.Done()
	c, err := parse(step.Config)
	if err != nil {
		return nil, handlerconfig.Failed(err)
	}
	cmd, err := c.prepare(ctx, task, steps, step)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("command was not started: %w", whyStopped(ctx))
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
	p := process{cmd: cmd, grace: c.grace, full: full, closing: h.closing}
	err = p.wait(ctx)
	stderr.end()
	switch {
	case stdout.over:
		return nil, &domain.Failure{Kind: domain.KindPermanent, Code: "OUTPUT_TOO_LARGE", Err: fmt.Errorf(
			"command wrote more than %d bytes to stdout: raise max_output, or write a file and print its name", c.maxOutput)}
	case p.stopped:
		return nil, fmt.Errorf("command was stopped%s: %w%s", p.how(), whyStopped(ctx), stderr.tail())
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

// whyStopped is an error that is both the cause of the end of ctx and ctx.Err().
func whyStopped(ctx context.Context) error {
	if ctx.Err() == nil {
		return errClosed
	}
	return fmt.Errorf("%w (%w)", context.Cause(ctx), ctx.Err())
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
func (h *Handler) journal(ctx context.Context, run domain.Run) *journal {
	var log *slog.Logger
	if h.options.Logger != nil {
		log = h.options.Logger(ctx)
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
