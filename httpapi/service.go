package httpapi

import (
	"context"
	"iter"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

// Service is what is served: an engine in this process, or a client of engines in others.
type Service interface {
	Info() domain.DataInfo
	Status(ctx context.Context) (*tasker.Status, error)
	LogEnd(ctx context.Context) ([]tasker.Position, error)
	Replay(ctx context.Context, o tasker.ReplayOptions) iter.Seq2[tasker.Event, error]

	Apply(ctx context.Context, def *tasker.Definition, replace bool) error
	Definition(ctx context.Context, namespace, name, version string) (*tasker.Definition, error)
	Definitions(ctx context.Context) ([]*tasker.Definition, error)

	SubmitRequest(ctx context.Context, s tasker.Submission) (tasker.Receipt, error)
	Task(ctx context.Context, id tasker.TaskID) (*tasker.Task, error)
	TaskAt(ctx context.Context, id tasker.TaskID, at tasker.Position) (*tasker.Task, error)
	Fork(ctx context.Context, id tasker.TaskID, o tasker.ForkOptions) (tasker.Receipt, error)
	Wait(ctx context.Context, id tasker.TaskID) (tasker.Result, error)
	History(ctx context.Context, id tasker.TaskID) (*tasker.History, error)
	Explain(ctx context.Context, id tasker.TaskID, step string) (*tasker.Explanation, error)

	Cancel(ctx context.Context, id tasker.TaskID, by tasker.By) (tasker.VerbReceipt, error)
	Retry(ctx context.Context, id tasker.TaskID, by tasker.By) (tasker.VerbReceipt, error)
	Resolve(ctx context.Context, id tasker.TaskID, by tasker.By) (tasker.VerbReceipt, error)
	Pause(ctx context.Context, id tasker.TaskID, by tasker.By) (tasker.VerbReceipt, error)
	Resume(ctx context.Context, id tasker.TaskID, by tasker.By) (tasker.VerbReceipt, error)
	Annotate(ctx context.Context, id tasker.TaskID, note tasker.Annotation, actor string) (tasker.VerbReceipt, error)
	RetryStep(ctx context.Context, id tasker.TaskID, step string, with tasker.StepRetry, by tasker.By) (tasker.VerbReceipt, error)
	ResolveStep(ctx context.Context, id tasker.TaskID, step string, result any, by tasker.By) (tasker.VerbReceipt, error)
	CancelStep(ctx context.Context, id tasker.TaskID, step string, by tasker.By) (tasker.VerbReceipt, error)
	CompleteStep(ctx context.Context, id tasker.TaskID, step string, result any, by tasker.By) (tasker.VerbReceipt, error)

	DeadLetters(ctx context.Context, filter tasker.DeadLetterFilter) ([]tasker.DeadLetter, error)
	DeadLetter(ctx context.Context, sequence uint64) (tasker.DeadLetter, error)
	DropDeadLetter(ctx context.Context, sequence uint64) error
	Requeue(ctx context.Context, sequence uint64, input any) error

	FindTasks(ctx context.Context, q index.TaskQuery, at ...tasker.Position) (index.TaskPage, error)
	FindSteps(ctx context.Context, q index.StepQuery, at ...tasker.Position) (index.StepPage, error)
	CountTasks(ctx context.Context, q index.TaskQuery, at ...tasker.Position) (index.Counts, error)
	Analyze(ctx context.Context, q index.AnalyticsQuery, at ...tasker.Position) (index.Analytics, error)
	ExplainBehind(ctx context.Context, err error) *tasker.Explanation
	IndexLag(ctx context.Context) (index.Lag, error)
	CriticalPath(ctx context.Context, id tasker.TaskID) (*tasker.CriticalPath, error)
	Stuck(ctx context.Context, q tasker.StuckQuery) (tasker.StuckPage, error)

	Subscribers(ctx context.Context) ([]tasker.Subscribed, error)
	ForgetSubscriber(ctx context.Context, name string) error
}

var (
	_ Service = (*tasker.Engine)(nil)
	_ Service = (*tasker.Client)(nil)
)
